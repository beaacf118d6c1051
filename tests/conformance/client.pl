#!/usr/bin/perl
# A client of the test server by Protocol::WebSocket, which shares no code with the server.
#
#   client.pl PORT VERSION TEXT
#
# VERSION is draft-ietf-hybi-00 (the wire of hixie-76), draft-ietf-hybi-10 (Sec-WebSocket-Version 8) or
# draft-ietf-hybi-17 (13). Makes the handshake, takes ten numbers, has TEXT echoed, closes, and prints
# what it saw, a line each; dies with the reason at the first thing that is not as the drafts say.
use strict;
use warnings;
use Digest::SHA qw(sha1);
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

use constant SECONDS => 20;

my ($port, $version, $text) = @ARGV;
die "usage: client.pl PORT VERSION TEXT\n" unless defined $text;
my $hixie = $version eq 'draft-ietf-hybi-00';

local $SIG{ALRM} = sub { die "no answer within @{[SECONDS]} seconds\n" };
alarm SECONDS;
$| = 1;

my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp')
    or die "connect: $@\n";
binmode $socket;

# One read; false at the end of the stream.
sub receive {
    my $read = sysread $socket, my $bytes, 65536;
    die "read: $!\n" unless defined $read;
    return $read ? $bytes : undef;
}

sub send_all {
    my ($bytes) = @_;
    while (length $bytes) {
        my $written = syswrite $socket, $bytes;
        die "write: $!\n" unless defined $written;
        substr $bytes, 0, $written, '';
    }
}

# ---- Handshake. The module checks the digest of 76; the accept key of the others is checked here.
my $key = encode_base64(join('', map { chr int rand 256 } 1 .. 16), '');
my $handshake = Protocol::WebSocket::Handshake::Client->new(
    url     => "ws://127.0.0.1:$port/demo?a=b",
    version => $version,
);
$handshake->req->key($key) unless $hixie;
send_all($handshake->to_string);

my ($answer, $rest) = ('', '');
until ($handshake->is_done) {
    my $bytes = receive();
    die "the server hung up in the handshake after: $answer\n" unless defined $bytes;
    $answer .= $bytes;
    $handshake->parse($bytes) or die 'handshake: ' . $handshake->error . "\n";
    $rest = $bytes;    # what the module has not consumed: the first frames
}
if ($hixie) {
    die "no right Location in: $answer\n"
        unless $answer =~ m{^Sec-WebSocket-Location: ws://127\.0\.0\.1:$port/demo\?a=b\r$}m;
    die "no right Origin in: $answer\n"
        unless $answer =~ m{^Sec-WebSocket-Origin: http://127\.0\.0\.1:$port\r$}m;
}
else {
    my $accept = encode_base64(sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');
    die "no right accept key in: $answer\n"
        unless $answer =~ /^Sec-WebSocket-Accept: \Q$accept\E\r$/m;
}
print "handshake $version\n";

# ---- Frames
my $frame = Protocol::WebSocket::Frame->new(version => $version);
$frame->append($rest);

# The next frame's payload; its opcode is the frame object's then. Undefined at the end of the stream.
sub next_payload {
    while (1) {
        my $payload = $frame->next_bytes;
        return $payload if defined $payload;
        my $bytes = receive();
        return undef unless defined $bytes;
        $frame->append($bytes);
    }
}

# A client's frame as bytes: masked for all versions but 76, which has no mask.
sub frame_of {
    my ($payload, @more) = @_;
    return $handshake->build_frame(buffer => $payload, @more)->to_bytes;
}

my ($count, $echoed) = (0, 0);
while ($count < 10 || !$echoed) {
    my $payload = next_payload();
    die "the server hung up after $count numbers\n" unless defined $payload;
    die 'opcode ' . $frame->opcode . " came instead of a text\n" unless $hixie || $frame->is_text;
    if ($payload eq $text) {
        $echoed = 1;
        print "echo $payload\n";
        next;
    }
    die "\"$payload\" came instead of $count\n" unless $payload eq $count;
    print "number $payload\n";
    $count++;
    send_all(frame_of($text)) if $count == 5;
}

# ---- Close: numbers that were under way may still come before the server's own close frame.
my $code = pack 'n', 1000;
send_all($hixie ? frame_of('', type => 'close') : frame_of($code, type => 'close'));
my $closed = 0;
while (defined(my $payload = next_payload())) {
    die "\"$payload\" came after the close frame\n" if $closed;
    next unless $frame->is_close;
    $closed = 1;
    die "the close frame repeats another code\n" unless $hixie || substr($payload, 0, 2) eq $code;
    print "close\n";
}
die "the stream ended without a close frame\n" unless $closed;
print "end\n";
