import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;
import org.apache.curator.retry.ExponentialBackoffRetry;

/**
 * Curator's TreeCache or CuratorCache, with the client's defaults and the retry policy of Curator's own "getting
 * started". See README.md.
 */
public final class Curator {
    private static final long LOOK_MICROS = 200; // how often a wait looks
    private static final int READS_A_BLOCK = 20_000;

    /** What the two caches have in common. */
    private interface Cache {
        void start(Runnable complete) throws Exception;

        /** Null when there is no such node. */
        ChildData get(String path);

        void digest(Digest digest);

        void listen();

        void close();
    }

    private final boolean treeCache;
    private CuratorFramework client;
    private final List<Cache> caches = new ArrayList<>();
    private final AtomicLong events = new AtomicLong();
    private final StringBuilder times = new StringBuilder();
    private List<String> expected = new ArrayList<>();
    private byte[] expectedData;

    private Curator(boolean treeCache) {
        this.treeCache = treeCache;
    }

    public static void main(String[] arguments) throws IOException {
        Curator contender = new Curator(arguments[0].equals("tree"));
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.out.println("ok");
        for (String line; (line = requests.readLine()) != null;) {
            String answer;
            try {
                answer = contender.answer(line.split(" "));
            } catch (Exception exception) {
                answer = "error " + exception;
            }
            System.out.println(answer);
        }
        System.exit(0);
    }

    private String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "connect":
                client = CuratorFrameworkFactory.newClient(words[1], new ExponentialBackoffRetry(1000, 3));
                client.start();
                if (!client.blockUntilConnected(30, TimeUnit.SECONDS)) {
                    return "error not connected";
                }
                return "ok";
            case "load":
                load(words[1]);
                return "ok";
            case "digest":
                Digest digest = new Digest();
                cache().digest(digest);
                return "ok nodes=" + digest.nodes + " sum=" + Long.toUnsignedString(digest.sum);
            case "memory":
                System.gc();
                Runtime runtime = Runtime.getRuntime();
                return "ok live=" + (runtime.totalMemory() - runtime.freeMemory());
            case "listen":
                cache().listen();
                events.set(0);
                return "ok";
            case "heard":
                synchronized (times) {
                    Files.writeString(Path.of(words[1]), times);
                    times.setLength(0);
                }
                return "ok events=" + events.getAndSet(0) + " versions=0";
            case "expect":
                expected = Files.lines(Path.of(words[1])).collect(Collectors.toCollection(ArrayList::new));
                expectedData = words.length > 2 ? words[2].getBytes(StandardCharsets.UTF_8) : null;
                return "ok";
            case "until":
                waitUntilExpected();
                return "ok";
            case "measure":
                return words[1].equals("get")
                    ? "ok ns=" + measure(words[2], Integer.parseInt(words[3]), Integer.parseInt(words[4]))
                    : "unsupported";
            case "close":
                caches.forEach(Cache::close);
                caches.clear();
                client.close();
                return "ok";
            default:
                return "unsupported";
        }
    }

    private Cache cache() {
        return caches.get(caches.size() - 1);
    }

    private void load(String root) throws Exception {
        CountDownLatch complete = new CountDownLatch(1);
        Cache cache = treeCache ? new OfTreeCache(root) : new OfCuratorCache(root);
        caches.add(cache);
        cache.start(complete::countDown);
        complete.await();
    }

    private void heard(ChildData node) {
        events.incrementAndGet();
        byte[] data = node.getData();
        if (data != null && data.length > 0 && data[0] == '#') {
            long now = System.nanoTime(); // on Linux, the monotonic clock
            synchronized (times) {
                times.append(new String(data, StandardCharsets.UTF_8)).append(' ').append(now).append('\n');
            }
        }
    }

    private void waitUntilExpected() throws InterruptedException {
        while (!expected.isEmpty()) {
            int last = expected.size() - 1;
            ChildData node = cache().get(expected.get(last));
            if (Arrays.equals(node == null ? null : node.getData(), expectedData)) {
                expected.remove(last);
            } else {
                TimeUnit.MICROSECONDS.sleep(LOOK_MICROS);
            }
        }
    }

    private double measure(String file, int threads, int milliseconds) throws Exception {
        List<String> paths = Files.readAllLines(Path.of(file));
        List<Double> took = new ArrayList<>();
        CyclicBarrier start = new CyclicBarrier(threads);
        Thread[] readers = new Thread[threads];
        for (int i = 0; i < threads; i++) {
            // Each reads its own part; of a single path, everybody the whole.
            List<String> share = paths.size() < threads
                ? paths
                : paths.subList(paths.size() * i / threads, paths.size() * (i + 1) / threads);
            readers[i] = new Thread(() -> read(share.toArray(String[]::new), start, milliseconds, took));
            readers[i].start();
        }
        for (Thread reader : readers) {
            reader.join();
        }
        took.sort(null);
        return took.get(took.size() / 2);
    }

    private void read(String[] paths, CyclicBarrier start, int milliseconds, List<Double> took) {
        Cache cache = cache();
        List<Double> mine = new ArrayList<>();
        long seen = 0;
        try {
            start.await();
        } catch (Exception exception) {
            throw new IllegalStateException(exception);
        }
        long end = System.nanoTime() + milliseconds * 1_000_000L;
        for (int at = 0; System.nanoTime() < end || mine.size() < 5;) {
            long began = System.nanoTime();
            for (int i = 0; i < READS_A_BLOCK; i++) {
                seen += cache.get(paths[at]).getData().length;
                if (++at == paths.length) {
                    at = 0;
                }
            }
            mine.add((System.nanoTime() - began) / (double) READS_A_BLOCK);
        }
        synchronized (took) {
            took.addAll(mine);
            events.addAndGet(seen == 0 ? 1 : 0); // so that the reads are not optimised away
        }
    }

    /** How many nodes, and the sum of their checksums. */
    private static final class Digest {
        private static final byte[] NUL = {0};
        private long nodes;
        private long sum;

        private void add(ChildData node) {
            CRC32 crc = new CRC32();
            crc.update(node.getPath().getBytes(StandardCharsets.UTF_8));
            crc.update(NUL);
            if (node.getData() != null) {
                crc.update(node.getData());
            }
            nodes++;
            sum += crc.getValue();
        }
    }

    /** Deprecated in favour of CuratorCache, and the one that copes with more than 65,535 nodes. */
    @SuppressWarnings("deprecation")
    private final class OfTreeCache implements Cache {
        private final String root;
        private final TreeCache cache;

        private OfTreeCache(String root) {
            this.root = root;
            cache = TreeCache.newBuilder(client, root).build();
        }

        @Override
        public void start(Runnable complete) throws Exception {
            cache.getListenable().addListener((ignored, event) -> {
                if (event.getType() == TreeCacheEvent.Type.INITIALIZED) {
                    complete.run();
                }
            });
            cache.start();
        }

        @Override
        public ChildData get(String path) {
            return cache.getCurrentData(path);
        }

        @Override
        public void digest(Digest digest) {
            List<String> paths = new ArrayList<>(List.of(root));
            while (!paths.isEmpty()) {
                String path = paths.remove(paths.size() - 1);
                ChildData node = cache.getCurrentData(path);
                if (node != null) {
                    digest.add(node);
                    Map<String, ChildData> children = cache.getCurrentChildren(path);
                    if (children != null) {
                        children.keySet().forEach(name -> paths.add(path + "/" + name));
                    }
                }
            }
        }

        @Override
        public void listen() {
            cache.getListenable().addListener((ignored, event) -> {
                if (event.getData() != null) {
                    heard(event.getData());
                }
            });
        }

        @Override
        public void close() {
            cache.close();
        }
    }

    private final class OfCuratorCache implements Cache {
        private final CuratorCache cache;

        private OfCuratorCache(String root) {
            cache = CuratorCache.build(client, root);
        }

        @Override
        public void start(Runnable complete) {
            cache.listenable().addListener(CuratorCacheListener.builder().forInitialized(complete).build());
            cache.start();
        }

        @Override
        public ChildData get(String path) {
            return cache.get(path).orElse(null);
        }

        @Override
        public void digest(Digest digest) {
            cache.stream().forEach(digest::add);
        }

        @Override
        public void listen() {
            cache.listenable().addListener((type, before, node) -> heard(node != null ? node : before));
        }

        @Override
        public void close() {
            cache.close();
        }
    }
}
