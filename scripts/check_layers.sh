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
    'common/objstore'        => ['common/base', 'common/domain', 'common/net', 'common/observe'],
    'common/net'             => ['common/base', 'common/domain', 'common/observe'],
    'common/observe'         => ['common/base'],
    'task_manager/store'     => ['common/*'],
    'task_manager/service'   => ['common/*', 'task_manager/store'],
    'task_manager/http'      => ['common/*', 'task_manager/store', 'task_manager/service'],
    'task_manager'           => ['common/*', 'task_manager/*'],
    'data_processor/blobs'   => ['common/base', 'common/domain', 'common/objstore'],
    'data_processor/csv'     => ['common/base', 'common/domain'],
    'data_processor/parquet' => ['common/base'],
    'data_processor/plays'   => ['common/base', 'data_processor/csv', 'data_processor/parquet'],
    'data_processor/repo'    => ['common/*'],
    'data_processor/jobs'    => ['common/*', 'data_processor/blobs', 'data_processor/csv', 'data_processor/parquet',
        'data_processor/plays', 'data_processor/repo'],
    'data_processor/runtime' => ['common/*', 'data_processor/jobs'],
    'data_processor'         => ['common/*', 'data_processor/*'],
    # The library for other people's programs: its backends see its public headers only
    # (docs/decisions/0004-pipeline-library.md), and so do the examples.
    'pipeline'               => ['common/base', 'common/domain', 'pipeline/segue'],
    'pipeline/segue'         => ['common/domain'],
    'examples'               => ['pipeline/segue'],
    'taskctl'                => ['common/base', 'common/domain', 'common/domain/codec', 'common/net'],
);

# Foreign header => where it may be included.
my %home = (
    qr{^microhttpd\.h$}      => [qr{^task_manager/http/server\.c$}],
    qr{^(mysql|mariadb)\b}   => [qr{^task_manager/store/[^/]*mysql[^/]*$}, qr{^pipeline/mysql[^/]*$}],
    qr{^sqlite3\.h$}         => [qr{^task_manager/store/[^/]*sqlite[^/]*$}, qr{^pipeline/sqlite[^/]*$}],
    qr{^(rabbitmq-c/)?amqp}  => [qr{^common/broker/broker_rabbitmq[^/]*$}],
    qr{^curl/}               => [qr{^common/net/}],
    qr{^jansson\.h$}         => [qr{^common/domain/codec/}, qr{^task_manager/http/}, qr{^taskctl/}],
    qr{^openssl/}            => [qr{^common/objstore/(sha256|seal|azure_sign)\.c$}, qr{^common/net/http_client\.c$}],
    qr{^(zlib|zstd)\.h$}     => [qr{^data_processor/(csv|parquet)/}],
);
my $banned = qr{\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|system|popen|strtok)\s*\(};

my (@files, %rooms_with);
find({no_chdir => 1, wanted => sub { push @files, $_ if /\.(c|h|def)$/ && -f }},
    grep { -d } qw(common task_manager data_processor taskctl pipeline examples tests));
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
            my ($path, $name) = ($1, basename($1));
            complain("$file:$number: a backend of the pipeline library sees public headers only")
                if $file =~ m{^pipeline/(sqlite|mysql)} && $name !~ /^((sqlite|mysql)_impl|boot_clock)\.h$/
                   && $path !~ m{^segue/};
            my $owners = $rooms_with{$name} or next; # generated
            complain("$file:$number: $room may not include \"$name\" (@$owners)")
                unless grep { may_include($room, $_) } @$owners;
        }
    }
}
exit 1 if $bad;
print "layers: ok\n";
PERL
