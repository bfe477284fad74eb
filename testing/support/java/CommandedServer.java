import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;
import org.apache.zookeeper.server.DataNode;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZKDatabase;
import org.apache.zookeeper.server.ZooKeeperServer;
import org.apache.zookeeper.server.ZooKeeperServerMain;
import org.apache.zookeeper.server.persistence.FileSnap;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.QuorumPeerMain;

/**
 * A ZooKeeper server, alone or of an ensemble, that also does what no client can ask of it.
 *
 * Arguments: the configuration file, and the loopback port for commands. Each connection there is one command and its
 * answer, a line each: "ok", or what went wrong.
 *
 *     snapshot FOLDER      writes what the server has to a new folder
 *     restore FOLDER       puts that in place of what it has, under live connections
 *     cversion PATH N      the node has been given N children so far
 *     hold PATH            no transaction that concerns the node's data is applied until the next "release"
 *     release
 */
public class CommandedServer {
    private final Supplier<ZooKeeperServer> server;
    private CountDownLatch released = new CountDownLatch(1);

    private CommandedServer(Supplier<ZooKeeperServer> server) {
        this.server = server;
    }

    private static class Member extends QuorumPeerMain {
        void run(String config) throws Exception {
            initializeAndRun(new String[] {config});
        }

        ZooKeeperServer server() {
            return quorumPeer.getActiveServer();
        }
    }

    private static class Alone extends ZooKeeperServerMain {
        void run(String config) throws Exception {
            initializeAndRun(new String[] {config});
        }

        ZooKeeperServer server() {
            try {
                Field factory = ZooKeeperServerMain.class.getDeclaredField("cnxnFactory");
                factory.setAccessible(true);
                return ((ServerCnxnFactory) factory.get(this)).getZooKeeperServer();
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        QuorumPeerConfig config = new QuorumPeerConfig();
        config.parse(args[0]);
        ServerSocket listener = new ServerSocket(Integer.parseInt(args[1]), 50, InetAddress.getLoopbackAddress());
        if (config.isDistributed()) {
            Member member = new Member();
            new CommandedServer(member::server).serve(listener);
            member.run(args[0]);
        } else {
            Alone alone = new Alone();
            new CommandedServer(alone::server).serve(listener);
            alone.run(args[0]);
        }
        System.exit(0);
    }

    private void serve(ServerSocket listener) {
        Thread thread = new Thread(() -> {
            while (true) {
                try (Socket socket = listener.accept()) {
                    String line = new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine();
                    new PrintStream(socket.getOutputStream(), true).println(answer(line));
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private String answer(String line) {
        try {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "snapshot":
                    snapshot(new File(words[1]));
                    return "ok";
                case "restore":
                    restore(new File(words[1]));
                    return "ok";
                case "cversion":
                    node(words[1]).stat.setCversion(Integer.parseInt(words[2]));
                    return "ok";
                case "hold":
                    hold(node(words[1]));
                    return "ok";
                case "release":
                    released.countDown();
                    return "ok";
                default:
                    return "no such command: " + line;
            }
        } catch (Exception e) {
            e.printStackTrace();
            return line + ": " + e;
        }
    }

    private DataNode node(String path) {
        return server.get().getZKDatabase().getNode(path);
    }

    private void snapshot(File folder) throws Exception {
        ZKDatabase database = server.get().getZKDatabase();
        if (!folder.mkdir()) {
            throw new IllegalArgumentException("it is there already");
        }
        String name = "snapshot." + Long.toHexString(database.getDataTreeLastProcessedZxid());
        new FileSnap(folder)
                .serialize(database.getDataTree(), database.getSessionWithTimeOuts(), new File(folder, name), false);
    }

    /** What the admin command "restore" calls, from 3.9 on; before that, the same by hand. */
    private void restore(File folder) throws Exception {
        ZooKeeperServer server = this.server.get();
        FileSnap snapshot = new FileSnap(folder);
        try {
            Method restore = ZooKeeperServer.class.getMethod("restoreFromSnapshot", java.io.InputStream.class);
            try (FileInputStream stream = new FileInputStream(snapshot.findMostRecentSnapshot())) {
                restore.invoke(server, stream);
            }
        } catch (NoSuchMethodException e) {
            ZKDatabase database = new ZKDatabase(server.getTxnLogFactory());
            database.setlastProcessedZxid(
                    snapshot.deserialize(database.getDataTree(), database.getSessionWithTimeOuts()));
            server.setZKDatabase(database);
        }
    }

    /** A transaction that sets the node's data waits for its monitor, as a slow server would for a processor. */
    private void hold(DataNode node) throws Exception {
        CountDownLatch release = new CountDownLatch(1);
        CountDownLatch held = new CountDownLatch(1);
        released = release;
        Thread thread = new Thread(() -> {
            synchronized (node) {
                held.countDown();
                try {
                    release.await();
                } catch (InterruptedException e) {
                    // released
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
        held.await();
    }
}
