import java.util.Arrays;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;

/**
 * Writes nodes as Curator compresses them by default: CompressedByCurator HOSTS PARENT LENGTH... makes a node for each
 * length, named by it, with that many bytes, of which the n-th is n * n / 7.
 */
public final class CompressedByCurator {
    public static void main(String[] arguments) throws Exception {
        try (CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], new RetryOneTime(1000))) {
            client.start();
            for (String length : Arrays.copyOfRange(arguments, 2, arguments.length)) {
                byte[] data = new byte[Integer.parseInt(length)];
                for (int n = 0; n < data.length; n++) {
                    data[n] = (byte) ((long) n * n / 7);
                }
                client.create().compressed().forPath(arguments[1] + "/" + length, data);
            }
        }
    }
}
