/**
 * HAProxy writes a line for each request, and each write to Docker's pipe wakes whoever reads it: that was measured at over
 * 40 % of what a request costs. So HAProxy writes to a pipe of its own, whose reader looks once, sleeps for 10 ms, and passes
 * on what has come meanwhile in one piece. A single line is passed on at once.
 *
 * HAProxy does not wait to log a line. It drops a line that does not fit the pipe, so the pipe is as large as a process
 * without privileges may make it, 1 MiB; and a line that finds another thread writing and still at it after 200 looks
 * (HAProxy's fd_write_frag_line), as happens when the kernel takes the processor from that thread.
 * haproxy_process_dropped_logs_total counts both.
 *
 * In Perl, which every Debian has: Node has neither pipe(2) nor fcntl(2), and a second Node would cost 40 MB. Perl runs the
 * handler of a signal between two operations, so one that arrives just before a read would wait for the next line of the log,
 * and with it the end of HAProxy. That is why it waits for lines for a second at a time.
 */
const program = `
use strict;
use constant { EINTR => 4, F_SETPIPE_SZ => 1031, SIZE => 1 << 20, NAP => 0.01, WAIT => 1 };
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
vec(my $reader = "", fileno $from, 1) = 1;
while (1) {
  next if select(my $ready = $reader, undef, undef, WAIT) < 1;
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

/** The arguments with which `perl` runs a command so. It passes TERM and USR1 on, and ends with the exit code of the command. */
export const logPipe = (command: readonly string[]): string[] => ["-e", program, ...command];
