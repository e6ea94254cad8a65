#!/usr/bin/env bash
# check_layers.sh - the include law and the other house rules that a machine can check:
# who may include whom, one home for each foreign header, banned calls, getenv in one file
# only, no // comments.
set -euo pipefail
cd "$(dirname "$0")/.."

exec perl - <<'PERL'
use strict;
use warnings;
use File::Find;
use File::Basename;

# A room and the rooms whose headers it may include beside its own. "a/*" is every room
# below a, and "a" alone is only the folder itself.
my %law = (
    'common/base'            => [],
    'common/domain'          => ['common/base'],
    'common/domain/codec'    => ['common/base', 'common/domain'],
    'common/broker'          => ['common/base', 'common/domain', 'common/observe'],
    'common/objstore'        => ['common/base', 'common/domain', 'common/observe'],
    'common/net'             => ['common/base', 'common/domain', 'common/observe'],
    'common/observe'         => ['common/base'],
    'task_manager/store'     => ['common/*'],
    'task_manager/service'   => ['common/*', 'task_manager/store'],
    'task_manager/http'      => ['common/*', 'task_manager/store', 'task_manager/service'],
    'task_manager'           => ['common/*', 'task_manager/*'],
    'data_processor/csv'     => ['common/base', 'common/domain'],
    'data_processor/jobs'    => ['common/*', 'data_processor/csv'],
    'data_processor/runtime' => ['common/*', 'data_processor/jobs'],
    'data_processor'         => ['common/*', 'data_processor/*'],
    'taskctl'                => ['common/base', 'common/domain', 'common/domain/codec', 'common/net'],
);

# Foreign header => where it may be included.
my %home = (
    qr{^microhttpd\.h$}      => [qr{^task_manager/http/server\.c$}],
    qr{^(mysql|mariadb)\b}   => [qr{^task_manager/store/[^/]*mysql[^/]*$}],
    qr{^sqlite3\.h$}         => [qr{^task_manager/store/[^/]*sqlite[^/]*$}],
    qr{^(rabbitmq-c/)?amqp}  => [qr{^common/broker/broker_rabbitmq[^/]*$}],
    qr{^curl/}               => [qr{^common/net/}],
    qr{^jansson\.h$}         => [qr{^common/domain/codec/}, qr{^task_manager/http/}, qr{^taskctl/}],
    qr{^openssl/}            => [qr{^common/objstore/sha256\.c$}],
    qr{^(zlib|zstd)\.h$}     => [qr{^data_processor/csv/}],
);
my $banned = qr{\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|system|popen|strtok)\s*\(};

my (@files, %rooms_with);
find({no_chdir => 1, wanted => sub { push @files, $_ if /\.(c|h|def)$/ && -f }},
    grep { -d } qw(common task_manager data_processor taskctl tests));
push @{$rooms_with{basename($_)}}, dirname($_) for grep { !m{^tests/} } @files;

my $bad = 0;
sub complain { print STDERR "layers: @_\n"; $bad++ }

sub may_include {
    my ($room, $other) = @_;
    return 1 if $room eq $other;
    for my $allowed (@{$law{$room} // []}) {
        return 1 if $allowed eq $other;
        return 1 if $allowed =~ m{^(.*)/\*$} && "$other/" =~ m{^\Q$1\E/};
    }
    return 0;
}

for my $file (sort @files) {
    my $in_tests = $file =~ m{^tests/};
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    my $text = <$in>;
    close $in;

    # Comments become blanks and strings become "", line ends stay: what is left is code.
    my $code = $text;
    $code =~ s{(/\*.*?\*/)|("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}
              { defined $1 ? ($1 =~ tr/\n//cdr) || ' ' : length($2) ? '""' : '' }gse;

    my $number = 0;
    for my $line (split /\n/, $code) {
        $number++;
        complain("$file:$number: // comment") if $line =~ m{//};
        complain("$file:$number: $1 is banned") if $line =~ $banned;
        complain("$file:$number: getenv belongs in common/base/config.c")
            if $line =~ /\bgetenv\s*\(/ && !$in_tests && $file !~ m{^common/base/(config|failpoint|notify)\.c$};
    }
    next if $in_tests;

    my $room = dirname($file);
    complain("$file: the folder $room is in no row of the include law") unless $law{$room};
    $number = 0;
    for my $line (split /\n/, $text) {
        $number++;
        if ($line =~ /^\s*#\s*include\s*<([^>]+)>/) {
            my $name = $1;
            for my $header (keys %home) {
                next unless $name =~ $header;
                complain("$file:$number: <$name> has another home")
                    unless grep { $file =~ $_ } @{$home{$header}};
            }
        } elsif ($line =~ /^\s*#\s*include\s*"([^"]+)"/) {
            my $name = basename($1);
            my $owners = $rooms_with{$name} or next; # generated
            complain("$file:$number: $room may not include \"$name\" (@$owners)")
                unless grep { may_include($room, $_) } @$owners;
        }
    }
}
exit 1 if $bad;
print "layers: ok\n";
PERL
