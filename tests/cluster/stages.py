"""stages.py - what is done to the cluster, one stage after the other."""

import json
import time

import check
import daemons
import load
from servers import PATIENCE, Trouble, wait_until

QUEUE = "segue.default"


class Result:
    def __init__(self, name):
        self.name, self.notes, self.verdict, self.conflicts = name, [], None, 0
        self.restarted = False  # a node counts anew

    def note(self, text):
        self.notes.append(text)


class Stage:
    """One stage: the load, what happens meanwhile, and what has become of it."""

    def __init__(self, name, args, galera, rabbit, segue):
        self.args, self.galera, self.rabbit, self.segue = args, galera, rabbit, segue
        self.result, self.account = Result(name), load.Account()
        self.problems = []
        self.clients = []

    def note(self, text):
        self.result.note(text)

    def blame(self, text):
        self.problems.append(text)

    def load(self, addresses=None, **options):
        addresses = addresses or [m.address for m in self.segue.managers]
        self.clients = load.start(self.account, addresses, self.args.rate, self.args.seconds,
                                  **options)

    def sleep_part(self, part):
        """Lets the load flow for a part of the stage."""
        time.sleep(self.args.seconds * part)

    def finish(self):
        for client in self.clients:
            client.join(self.args.seconds + 2 * PATIENCE)
            if client.is_alive() or client.error:
                self.blame(f"a client: {client.error or 'does not end'}")
        self.wait_quiet()

    def wait_quiet(self):
        node = next(n for n in self.galera.nodes if n.is_alive() and n.is_synced())
        wait_until(lambda: check.open_tasks(node) == 0, "every task to end", every=0.3)

    def downloads(self):
        """The files hold what they must, through every manager."""
        asks = [a for a in self.account.accepted if a.kind == "csv"]
        for i, ask in enumerate(asks):
            manager = self.segue.managers[i % 2]
            status, _, body = load.call(manager.address, "GET",
                                        f"/v1/data_processor/download/{ask.id}")
            if status != 200 or body != load.TOTALS:
                self.blame(f"{ask.id}: its download is answered {status}, {body[:60]}")


def back(stage, *nodes):
    stage.result.restarted = nodes[0] in stage.galera.nodes
    began = time.monotonic()
    for node in nodes:
        node.restart()
    for node in nodes:
        node.wait_back()
        stage.note(f"{node.name} was back {time.monotonic() - began:.1f} s after its start")


def recovered(manager, began):
    manager.wait_ready()
    return time.monotonic() - began


# --- the stages -------------------------------------------------------------------------------


def works(stage):
    stage.load()
    stage.finish()
    row = stage.rabbit.queue(QUEUE)
    if not row or len(row["members"]) != 3:
        stage.blame(f"the queue is not on three nodes: {row}")


def rabbit(stage):
    stage.load()
    stage.sleep_part(0.2)
    leader = wait_until(lambda: stage.rabbit.leader(QUEUE), "a leader of the queue")
    leader.kill()
    stage.note(f"{leader.name}, the leader, was killed")
    stage.sleep_part(0.4)
    after = stage.rabbit.leader(QUEUE)
    stage.note(f"the leader then: {after.name if after else 'none'}")
    back(stage, leader)
    stage.finish()
    for manager in stage.segue.managers:
        wait_until(lambda m=manager: broker_of(m) == "up", f"{manager.name} to see its broker")


def broker_of(manager):
    try:
        return json.loads(load.call(manager.address, "GET", "/readyz")[2]).get("broker")
    except load.LOST:
        return None


def galera(stage):
    """The node of the first manager, which has no other."""
    node, manager = stage.galera.nodes[0], stage.segue.managers[0]
    stage.load()
    stage.sleep_part(0.2)
    node.kill()
    stage.note(f"{node.name}, the node of {manager.name}, was killed")
    body = json.dumps({"type": "noop"}).encode()
    status, headers, _ = load.call(manager.address, "POST", "/v1/tasks", body,
                                   {"Content-Type": "application/json"})
    if status != 503 or "Retry-After" not in headers:
        stage.blame(f"without its node {manager.name} answers {status}")
    if manager.ready():
        stage.blame(f"without its node {manager.name} is ready")
    stage.sleep_part(0.4)
    back(stage, node)
    began = time.monotonic()
    stage.note(f"{manager.name} was ready {recovered(manager, began):.1f} s later")
    stage.finish()


def writers(stage):
    """Two managers claim from one backlog on different nodes; locks do not reach that far."""
    stage.segue.stop_workers()
    stage.clients = load.start(stage.account, [m.address for m in stage.segue.managers],
                               1000, stage.args.backlog / 1000, upload_each=10**9)
    for client in stage.clients:
        client.join()
    before = [daemons.said([w], "task.claimed ") for w in stage.segue.workers]
    lost = conflicts(stage.galera)
    stage.segue.start_workers()
    stage.finish()
    ends = check.end_times(stage.galera.nodes[0], stage.account)
    took = (ends[-1] - ends[0]) / 1000
    after = [daemons.said([w], "task.claimed ") for w in stage.segue.workers]
    stage.note(f"{len(ends)} waiting tasks ended within {took:.1f} s, {len(ends) / took:.0f} a "
               f"second, {after[0] - before[0]} by w1 and {after[1] - before[1]} by w2; "
               f"{conflicts(stage.galera) - lost} transactions lost to one of another node")


def onenode(stage):
    """The same with both managers on one node, to compare."""
    urls = [m.settings["DATABASE_URL"] for m in stage.segue.managers]
    stage.segue.restart_managers([urls[0]] * 2)
    writers(stage)
    stage.segue.restart_managers(urls)


def minority(stage):
    """One node is left of three: it must not write, and says so (error 1047)."""
    first, others = stage.galera.nodes[0], stage.galera.nodes[1:]
    stage.load()
    stage.sleep_part(0.2)
    for node in others:
        node.kill()
    wait_until(lambda: first.status("wsrep_cluster_status") == "non-Primary",
               "the last node to know that it is alone")
    body = json.dumps({"type": "noop"}).encode()
    for manager in stage.segue.managers:
        status, headers, told = load.call(manager.address, "POST", "/v1/tasks", body,
                                          {"Content-Type": "application/json"})
        if status != 503 or "Retry-After" not in headers:
            stage.blame(f"without a quorum {manager.name} answers {status}: {told[:200]}")
    stage.sleep_part(0.2)
    back(stage, *others)
    for manager in stage.segue.managers:
        manager.wait_ready()
    stage.finish()


def address(stage):
    """Clients and workers go through one address to both managers; one of them is killed."""
    segue = stage.segue
    segue.stop_workers()
    segue.proxy.start()
    segue.start_workers("http://%s:%d" % segue.proxy.address)
    stage.load([segue.proxy.address], look=True)
    stage.sleep_part(0.5)
    segue.managers[0].kill()
    stage.sleep_part(0.2)
    segue.managers[0].start()
    segue.managers[0].wait_ready()
    stage.finish()
    stage.note(f"m1 was killed and came back; {stage.account.looked} tasks were looked at right "
               f"after their 202, {stage.account.unseen} were not found")
    if stage.account.unseen:
        stage.blame(f"{stage.account.unseen} accepted tasks were unknown to the other manager")
    segue.stop_workers()
    segue.start_workers()
    segue.proxy.stop()


def failover(stage):
    """The managers reach the database through the proxy; its node is killed, the next is used."""
    segue, node = stage.segue, stage.galera.nodes[0]
    segue.proxy.start()
    direct = [m.settings["DATABASE_URL"] for m in segue.managers]
    segue.restart_managers([segue.proxy.database_url(node)] * 2)
    stage.load()
    stage.sleep_part(0.3)
    node.kill()
    stage.note(f"{node.name}, the node of both managers, was killed")
    stage.sleep_part(0.4)
    back(stage, node)
    stage.finish()
    segue.restart_managers(direct)
    segue.proxy.stop()


def switch(stage):
    """The proxy moves from one node to the other again and again and cuts the links, while both
    nodes live: a COMMIT goes on where nobody hears of it, and is asked about on another node."""
    segue, (one, two, _) = stage.segue, stage.galera.nodes
    segue.proxy.start()
    direct = [m.settings["DATABASE_URL"] for m in segue.managers]
    segue.restart_managers([segue.proxy.database_url(one)] * 2)
    stage.load()
    until, moves = time.monotonic() + stage.args.seconds, 0
    while time.monotonic() < until:
        away, there = (one, two) if moves % 2 == 0 else (two, one)
        segue.proxy.tell(f"enable server database/{there.name}",
                         f"disable server database/{away.name}",
                         f"shutdown sessions server database/{away.name}")
        moves += 1
        time.sleep(0.15)
    segue.proxy.tell(f"enable server database/{one.name}", f"enable server database/{two.name}")
    stage.finish()
    stage.note(f"the proxy moved {moves} times and cut all links each time")
    segue.restart_managers(direct)
    segue.proxy.stop()


ALL = (
    ("works", "nothing is broken", works),
    ("rabbit", "the queue's leader is killed and comes back", rabbit),
    ("galera", "the database node of one manager is killed and comes back", galera),
    ("writers", "two managers claim from one backlog on two nodes", writers),
    ("onenode", "the same on one node, to compare", onenode),
    ("minority", "two of three database nodes are killed and come back", minority),
    ("address", "both managers behind one address, one is killed and comes back", address),
    ("failover", "both managers on the database's proxy, its node is killed", failover),
    ("switch", "the database's proxy moves between two nodes that live", switch),
)


def conflicts(cluster):
    return cluster.count("wsrep_local_cert_failures") + cluster.count("wsrep_local_bf_aborts")


def go(args, wanted, cluster, broker, segue, tell):
    """True when a promise was broken."""
    segue.start_managers()
    segue.start_workers()
    bad, accounts = False, []
    for name, _, action in ALL:
        if name not in wanted:
            continue
        stage = Stage(name, args, cluster, broker, segue)
        before = conflicts(cluster)
        try:
            action(stage)
        except Trouble as trouble:
            stage.blame(str(trouble))
        stage.result.conflicts = max(0, conflicts(cluster) - before)
        stage.downloads()
        stage.result.verdict = check.check(stage.account, cluster.nodes[0], segue.workers)
        if stage.account.hasty:
            stage.blame(f"{stage.account.hasty} answers 503 without Retry-After")
        wrong = {s for s in stage.account.answers if s not in (202, 503, "no answer")}
        if wrong - ({502, 504} if name == "address" else set()):
            stage.blame(f"clients were answered {wrong}")
        stage.result.verdict.problems += stage.problems
        bad = bad or bool(stage.result.verdict.problems)
        accounts.append(stage.account)
        tell(stage.result)
    for problem in check.check_no_strangers(accounts, cluster.nodes[0]):
        print(f"  PROBLEM {problem}")
        bad = True
    return bad
