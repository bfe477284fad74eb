import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;
import org.apache.curator.framework.recipes.cache.TreeCacheSelector;
import org.apache.curator.retry.RetryOneTime;

/**
 * Curator's TreeCache with a selector that does what depth.max and select.* of libtreecache say. Takes the hosts; then a
 * line for each order, and answers each with lines, of which the last one is empty: "open ROOT RULE..." makes a cache and
 * waits until it is complete; a RULE is "depth=1" or "exclude=*&#47;tmp" and the like. "list" tells the nodes that it has, each
 * with its data.
 */
public final class Narrowed {
    private final CuratorFramework client;
    private TreeCache cache;
    private String root;

    private Narrowed(String hosts) {
        client = CuratorFrameworkFactory.newClient(hosts, new RetryOneTime(1000));
        client.start();
    }

    public static void main(String[] arguments) throws Exception {
        var narrowed = new Narrowed(arguments[0]);
        var orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (var order = orders.readLine(); order != null; order = orders.readLine()) {
            var words = order.split(" ");
            if (words[0].equals("open")) {
                narrowed.open(words[1], Arrays.asList(words).subList(2, words.length));
            } else {
                narrowed.list();
            }
            System.out.println();
            System.out.flush();
        }
        System.exit(0);
    }

    private void open(String root, List<String> rules) throws Exception {
        if (cache != null) {
            cache.close();
        }
        this.root = root;
        cache = TreeCache.newBuilder(client, root).setSelector(new Rules(root, rules)).build();
        var complete = new CountDownLatch(1);
        cache.getListenable().addListener((of, event) -> {
            if (event.getType() == TreeCacheEvent.Type.INITIALIZED) {
                complete.countDown();
            }
        });
        cache.start();
        if (!complete.await(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException(root + " is not complete after 30 s");
        }
    }

    private void list() {
        var nodes = new TreeMap<String, ChildData>();
        collect(root, nodes);
        nodes.forEach((path, node) ->
            System.out.println(path + " " + new String(node.getData(), StandardCharsets.UTF_8)));
    }

    private void collect(String path, Map<String, ChildData> nodes) {
        var node = cache.getCurrentData(path);
        if (node != null) {
            nodes.put(path, node);
        }
        var children = cache.getCurrentChildren(path);
        if (children != null) {
            children.keySet().forEach(name -> collect(path + "/" + name, nodes));
        }
    }

    /** The rules, as regular expressions over relative paths. */
    private static final class Rules implements TreeCacheSelector {
        private final String root;
        private int depth = Integer.MAX_VALUE;
        private final List<Pattern> exclude = new ArrayList<>();
        private final List<Pattern> leaf = new ArrayList<>();
        private final List<Pattern> include = new ArrayList<>();

        Rules(String root, List<String> rules) {
            this.root = root;
            for (var rule : rules) {
                var parts = rule.split("=", 2);
                switch (parts[0]) {
                    case "depth" -> depth = Integer.parseInt(parts[1]);
                    case "exclude" -> exclude.add(expression(parts[1]));
                    case "leaf" -> leaf.add(expression(parts[1]));
                    case "include" -> include.add(expression(parts[1]));
                    default -> throw new IllegalArgumentException(rule);
                }
            }
        }

        /** Each name ends with a slash. */
        private static Pattern expression(String pattern) {
            var names = pattern.split("/");
            var text = new StringBuilder();
            for (int at = 0; at < names.length; at++) {
                if (names[at].equals("**")) {
                    text.append(at + 1 == names.length ? "(?:[^/]+/)+" : "(?:[^/]+/)*");
                } else {
                    for (var piece : names[at].split("((?<=\\*)|(?=\\*))")) {
                        text.append(piece.equals("*") ? "[^/]*" : Pattern.quote(piece));
                    }
                    text.append('/');
                }
            }
            return Pattern.compile(text.toString());
        }

        private String relative(String path) {
            return path.length() == root.length() ? "" : path.substring(root.length() + 1) + "/";
        }

        private static boolean matches(List<Pattern> patterns, String relative) {
            return patterns.stream().anyMatch(pattern -> pattern.matcher(relative).matches());
        }

        private static boolean leadsOn(Pattern pattern, String relative) {
            Matcher matcher = pattern.matcher(relative);
            return matcher.matches() || matcher.hitEnd();
        }

        @Override
        public boolean traverseChildren(String path) {
            var relative = relative(path);
            return relative.chars().filter(c -> c == '/').count() < depth && !matches(leaf, relative);
        }

        @Override
        public boolean acceptChild(String path) {
            var relative = relative(path);
            var isIncluded =
                include.isEmpty() || include.stream().anyMatch(pattern -> leadsOn(pattern, relative));
            return isIncluded && !matches(exclude, relative);
        }
    }
}
