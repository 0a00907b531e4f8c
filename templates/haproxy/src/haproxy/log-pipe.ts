/**
 * HAProxy writes a line for each request, and each write to Docker's pipe wakes whoever reads it: measured, that was over
 * 40 % of what a request cost. So HAProxy writes to a pipe of its own, whose reader looks once and then takes a nap of 10 ms, and
 * passes on what has come meanwhile in one piece. A line by itself is passed on at once.
 *
 * HAProxy waits for nobody with a line of its log. It drops one that does not fit the pipe, so the pipe is as large as a process
 * without privileges may make it, 1 MiB; and one that finds another thread writing and still at it after 200 looks (HAProxy's
 * fd_write_frag_line), as happens where the kernel takes the processor from that thread. haproxy_process_dropped_logs_total
 * counts both.
 *
 * In Perl, which is part of every Debian: Node has neither pipe(2) nor fcntl(2), and a second Node would cost 40 MB.
 */
const program = `
use strict;
use constant { EINTR => 4, F_SETPIPE_SZ => 1031, SIZE => 1 << 20, NAP => 0.01 };
pipe my $from, my $to or die "pipe: $!\\n";
fcntl $to, F_SETPIPE_SZ, SIZE;
my $child = fork // die "fork: $!\\n";
if ($child == 0) {
  open STDOUT, ">&", $to or die "stdout: $!\\n";
  close $_ for $from, $to;
  exec @ARGV or exit 127;
}
close $to;
$SIG{$_} = sub { kill shift, $child } for qw(TERM USR1);
$SIG{$_} = "IGNORE" for qw(INT PIPE);
while (1) {
  my $length = sysread $from, my $lines, SIZE;
  next if !defined $length && $! == EINTR;
  last if !$length;
  for (my $done = 0; $done < $length;) {
    my $written = syswrite STDOUT, $lines, $length - $done, $done;
    if (defined $written) { $done += $written }
    elsif ($!{EAGAIN}) { select undef, undef, undef, NAP }
    elsif ($! != EINTR) { last }
  }
  select undef, undef, undef, NAP;
}
waitpid $child, 0;
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
`;

/** What `perl` is started with to run a command so; it passes TERM and USR1 on, and ends with it, with its exit code. */
export const logPipe = (command: readonly string[]): string[] => ["-e", program, ...command];
