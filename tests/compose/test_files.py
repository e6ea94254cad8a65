"""test_files.py - what can be known about docker-compose.yml, the Dockerfile, the alert rules and
the board without starting anything."""

import json
import re
import sys
import unittest
from pathlib import Path

try:
    import yaml
except ImportError:
    print("skipped: this Python has no yaml (Debian: python3-yaml)")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
CODE = "\n".join(line.split(" #")[0] for line in TEXT.splitlines() if not line.lstrip().startswith("#"))
SERVICES = yaml.safe_load(TEXT)["services"]
OURS = ("task_manager", "data_processor", "taskctl", "test")
METRICS = set(re.findall(r'"(segue_[a-z_]+)"', (ROOT / "common/observe/metrics.def").read_text()))


def settings(program):
    rows = (ROOT / "common/base/config.def").read_text()
    found = re.findall(r'^C\([a-z_]+, [A-Z]+, ([A-Z| ]+), "([A-Z_]+)"', rows, re.M)
    return {name for programs, name in found if program in programs.split(" | ")}


class ComposeFile(unittest.TestCase):
    def test_it_says_nothing_that_one_of_the_two_composes_does_not_know(self):
        for word in (r"^name:", "start_interval", "start_period_interval", "!reset", "!override",
                     "host_ip", "dockerfile_inline", "additional_contexts", "required:",
                     "post_start", "env_file", "develop:", r"^include:", r"^configs:",
                     r"\$\{[A-Z_]+:?\+", r"\$\{[^}]*\$\{", "attach:", "pull_policy"):
            with self.subTest(word):
                self.assertIsNone(re.search(word, CODE, re.M))

    def test_every_variable_is_in_env_example_with_the_same_default(self):
        example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))
        for name, default in re.findall(r"\$\{([A-Z_]+):?-([^}]*)\}", CODE):
            with self.subTest(name):
                self.assertIn(name, example)
                if name in ("STORAGE_URL", "SLOTS") or name.startswith("SECRETS_"):
                    continue  # the example says of these that they differ
                self.assertEqual(example[name], default)

    def test_every_setting_of_a_program_reaches_its_container(self):
        # WORKER_NAME would be the same for all that --scale makes, SEGUE_SUPERVISED is no setting
        for service, program in (("task_manager", "M"), ("data_processor", "W")):
            given = {name.removesuffix("_FILE") for name in SERVICES[service]["environment"]}
            self.assertEqual(settings(program) - given - {"WORKER_NAME", "SEGUE_SUPERVISED"}, set())

    def test_our_containers_have_no_rights_to_spare(self):
        for name in OURS:
            with self.subTest(name):
                service = SERVICES[name]
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertNotIn("cap_add", service)
                self.assertNotIn("privileged", service)
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertIn("mem_limit", service)
                self.assertIn("pids_limit", service)

    def test_every_container_is_limited_and_may_not_gain_rights(self):
        for name, service in SERVICES.items():
            with self.subTest(name):
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                if name != "secrets":
                    self.assertIn("mem_limit", service)
                    self.assertIn("pids_limit", service)

    def test_only_the_api_is_published_and_on_loopback(self):
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        self.assertEqual(set(published), {"task_manager", "proxy", "grafana"})
        for name in ("proxy", "grafana"):
            self.assertTrue(SERVICES[name]["profiles"])
        for ports in published.values():
            self.assertEqual(len(ports), 1)
            self.assertRegex(ports[0], r"^(\$\{API_ADDRESS:-127\.0\.0\.1\}|127\.0\.0\.1):")

    def test_what_starts_by_itself_starts_in_the_order_of_health(self):
        self.assertEqual({name for name, service in SERVICES.items() if "profiles" not in service},
                         {"secrets", "mysql", "rabbitmq", "task_manager", "data_processor"})
        for name in ("mysql", "rabbitmq", "task_manager", "data_processor"):
            self.assertIn("healthcheck", SERVICES[name])
            conditions = {c["condition"] for c in SERVICES[name]["depends_on"].values()}
            self.assertNotIn("service_started", conditions)

    def test_foreign_images_have_a_version(self):
        for name, service in SERVICES.items():
            if name not in OURS:
                self.assertRegex(service["image"], r":-[^}]+:[^}]*\d[^}]*\}$", name)

    def test_no_password_stands_in_an_environment(self):
        for name, service in SERVICES.items():
            for key in service.get("environment", {}):
                if re.search("PASSWORD|DATABASE_URL|AMQP_URL|CONNECTION_STRING", key):
                    self.assertRegex(key, "_FILE$", name)

    def test_docker_waits_longer_than_the_programs(self):
        grace = re.search(r'"STOP_GRACE", "--stop-grace", "(\d+)s"', (ROOT / "common/base/config.def").read_text())
        for name in ("task_manager", "data_processor"):
            default = re.search(r":-(\d+)s", SERVICES[name]["stop_grace_period"])
            self.assertGreater(int(default[1]), int(grace[1]))


class Images(unittest.TestCase):
    text = (ROOT / "Dockerfile").read_text()
    stages = {m[1]: m[0] for m in re.findall(r"^(FROM \S+ AS (\S+)\n.*?)(?=^FROM |\Z)", text, re.M | re.S)}

    def test_both_builders_of_docker_can_build_it(self):
        for word in (r"^#\s*syntax", "<<", "--mount", "--link", "--chmod", r"\$BUILDPLATFORM"):
            self.assertIsNone(re.search(word, self.text, re.M), word)

    def test_what_is_shipped_holds_only_what_was_picked_and_runs_as_nobody_special(self):
        for target in ("task-manager", "data-processor", "taskctl"):
            with self.subTest(target):
                stage = self.stages[target]
                self.assertTrue(stage.startswith("FROM scratch "))
                self.assertIn("USER 10001:10001", stage)
                self.assertIn("LABEL", stage)
                self.assertNotIn("RUN", stage)
                if target != "taskctl":
                    self.assertRegex(stage, r'HEALTHCHECK .*CMD \["\w+", "health"\]')

    def test_no_image_says_what_a_file_with_a_secret_is_to_say(self):
        names = re.findall(r', "([A-Z_]+)", "--[a-z-]+", "[^"]*", \d+, \d+, 1,',
                           (ROOT / "common/base/config.def").read_text())
        self.assertIn("DATABASE_URL", names)
        for name in names:
            self.assertNotIn(f"{name}=", self.text)

    def test_each_target_is_a_service(self):
        targets = {s["build"]["target"] for s in SERVICES.values() if "build" in s}
        self.assertEqual(targets, set(self.stages) - {"tools", "build", "pack"})


class Observation(unittest.TestCase):
    rules = yaml.safe_load((ROOT / "packaging/observe/rules.yml").read_text())["groups"][0]["rules"]
    board = json.loads((ROOT / "packaging/observe/grafana/board.json").read_text())

    def test_rules_and_board_ask_for_metrics_that_there_are(self):
        asked = [rule["expr"] for rule in self.rules]
        asked += [target["expr"] for panel in self.board["panels"] for target in panel["targets"]]
        used = set(re.findall(r"segue_[a-z_]+", " ".join(asked)))
        self.assertEqual(used - METRICS, set())

    def test_every_alert_is_explained(self):
        page = (ROOT / "docs/operations.md").read_text()
        for rule in self.rules:
            with self.subTest(rule["alert"]):
                self.assertIn(f"\n### {rule['alert']}\n", page)
                self.assertEqual(rule["annotations"]["runbook"], f"docs/operations.md#{rule['alert'].lower()}")
                self.assertIn(rule["labels"]["severity"], ("page", "ticket"))


if __name__ == "__main__":
    unittest.main()
