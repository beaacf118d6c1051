#!/usr/bin/perl
# Many hixie-76 handshakes by Protocol::WebSocket, each with random keys and eight random bytes.
#
#   handshakes.pl PORT COUNT
#
# Prints how many were right; dies at the first that was not.
use strict;
use warnings;
use IO::Socket::INET;
use Protocol::WebSocket::Handshake::Client;

my ($port, $count) = @ARGV;
local $SIG{ALRM} = sub { die "no answer in time\n" };
alarm 60;

for my $number (1 .. $count) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
        or die "connect: $@\n";
    my $handshake = Protocol::WebSocket::Handshake::Client->new(
        url     => "ws://127.0.0.1:$port/",
        version => 'draft-ietf-hybi-00',
    );
    my $request = $handshake->to_string;
    syswrite $socket, $request;
    until ($handshake->is_done) {
        sysread $socket, my $bytes, 4096 or die "hung up in handshake $number: $request\n";
        $handshake->parse($bytes) or die "handshake $number: " . $handshake->error . "\n";
    }
    syswrite $socket, "\xff\x00";
    1 while sysread $socket, my $dropped, 4096;
}
print "$count\n";
