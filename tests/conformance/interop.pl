# A client of Mojolicious (Debian: libmojolicious-perl): perl interop.pl URL. It prints "right".
use strict;
use warnings;
use Mojo::IOLoop;
use Mojo::UserAgent;

my ($url, $deflate) = @ARGV;
my @messages = map { chr(0xe4) x int($_ / 2) . 'x' x ($_ % 2) } 0, 1, 125, 126, 65535, 65536, 200000;
my $next = 0;
my $agent = Mojo::UserAgent->new;
my $headers = $deflate ? {'Sec-WebSocket-Extensions' => 'permessage-deflate'} : {};
$agent->websocket($url => $headers => sub {
    my ($agent, $tx) = @_;
    die "no WebSocket" unless $tx->is_websocket;
    $tx->max_websocket_size(1 << 20);
    $tx->on(message => sub {
        my ($tx, $data) = @_;
        die "message $next" unless $data eq $messages[$next];
        $next++;
        return $tx->send($messages[$next]) if $next < @messages;
        $tx->finish(1000);
    });
    $tx->on(finish => sub {
        my ($tx, $code) = @_;
        die "closed with $code" unless $code == 1000 && $next == @messages;
        print "right ", $tx->compressed ? "permessage-deflate" : "", "\n";
        Mojo::IOLoop->stop;
    });
    $tx->send($messages[0]);
});
Mojo::IOLoop->timer(30 => sub { die "too slow" });
Mojo::IOLoop->start unless Mojo::IOLoop->is_running;
