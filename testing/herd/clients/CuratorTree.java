import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;
import org.apache.curator.retry.ExponentialBackoffRetry;

/**
 * Curator's caches: {@code CuratorTree TreeCache|CuratorCache HOSTS ROOT}. Says "ready" once it is loaded; ends with
 * its standard input.
 */
final class CuratorTree {
    public static void main(String[] args) throws Exception {
        CuratorFramework client =
            CuratorFrameworkFactory.newClient(args[1], 30_000, 15_000, new ExponentialBackoffRetry(1000, 3));
        client.start();
        if (args[0].equals("TreeCache")) {
            TreeCache cache = TreeCache.newBuilder(client, args[2]).build();
            cache.getListenable().addListener((of, event) -> {
                if (event.getType() == TreeCacheEvent.Type.INITIALIZED) {
                    System.out.println("ready");
                }
            });
            cache.start();
        } else {
            CuratorCache cache = CuratorCache.build(client, args[2]);
            cache.listenable().addListener(
                CuratorCacheListener.builder().forInitialized(() -> System.out.println("ready")).build());
            cache.start();
        }
        System.in.readAllBytes();
        client.close();
    }
}
