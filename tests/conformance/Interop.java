// A client of the JDK: java Interop.java URL. It prints "right".
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public class Interop {
    static final LinkedBlockingQueue<String> received = new LinkedBlockingQueue<>();
    static final CompletableFuture<Integer> closed = new CompletableFuture<>();

    static class Listener implements WebSocket.Listener {
        private final StringBuilder text = new StringBuilder();

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                received.add(text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            closed.complete(code);
            return null;
        }
    }

    public static void main(String[] arguments) throws Exception {
        WebSocket socket = HttpClient.newHttpClient().newWebSocketBuilder()
            .buildAsync(URI.create(arguments[0]), new Listener()).get(20, TimeUnit.SECONDS);
        for (int size : new int[] {0, 1, 125, 126, 65535, 65536, 300000}) {
            String message = "ä".repeat(size / 2) + "x".repeat(size % 2);
            socket.sendText(message, true).get(20, TimeUnit.SECONDS);
            if (!message.equals(received.poll(20, TimeUnit.SECONDS))) {
                throw new Exception("message of " + size);
            }
        }
        socket.sendText("in ", false).get(20, TimeUnit.SECONDS);
        socket.sendText("pieces", true).get(20, TimeUnit.SECONDS);
        if (!"in pieces".equals(received.poll(20, TimeUnit.SECONDS))) {
            throw new Exception("fragments");
        }
        socket.sendClose(1000, "").get(20, TimeUnit.SECONDS);
        if (closed.get(20, TimeUnit.SECONDS) != 1000) {
            throw new Exception("close");
        }
        System.out.println("right");
        System.exit(0);
    }
}
