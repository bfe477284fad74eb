//! What one writes by hand over the `zookeeper` crate: a map, a one-shot watch for the data and one for the children
//! of every node, and 64 threads that read, since the crate has one request in flight for each thread that waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use contender::{Contender, Digest, Heard};
use zookeeper::{WatchedEvent, WatchedEventType, ZkError, ZooKeeper};

const THREADS: usize = 64;
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

fn main() {
    contender::serve(Handmade::default());
}

#[derive(Default)]
struct Handmade {
    client: Option<Arc<ZooKeeper>>,
    cache: Option<(Arc<Cache>, Vec<JoinHandle<()>>)>,
    heard: Arc<Heard>,
}

impl Contender for Handmade {
    fn connect(&mut self, hosts: &str) -> Result<(), String> {
        let client =
            ZooKeeper::connect(hosts, SESSION_TIMEOUT, |_| {}).map_err(|error| format!("{error:?}"))?;
        // Queued until there is a session.
        client.exists("/", false).map_err(|error| format!("{error:?}"))?;
        self.client = Some(Arc::new(client));
        Ok(())
    }

    fn load(&mut self, root: &str) -> Result<(), String> {
        self.end_cache();
        let client = self.client.clone().ok_or("not connected")?;
        let cache = Arc::new(Cache::new(client, self.heard.clone()));
        let threads = (0..THREADS).map(|_| {
            let cache = cache.clone();
            thread::spawn(move || cache.work())
        });
        let threads = threads.collect();
        cache.ask(Read::Node(root.to_owned()));
        cache.wait_until_loaded();
        self.cache = Some((cache, threads));
        Ok(())
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        if let Some((cache, _)) = &self.cache {
            for (path, node) in &*read(&cache.nodes) {
                digest.add(path, &node.data);
            }
        }
        digest
    }

    fn close(&mut self) {
        self.end_cache();
        if let Some(client) = self.client.take() {
            let _ = client.close();
        }
    }

    fn heard(&self) -> Option<&Heard> {
        Some(&self.heard)
    }

    fn get(&self, path: &str) -> Option<Vec<u8>> {
        read(&self.cache.as_ref()?.0.nodes).get(path).map(|node| node.data.clone())
    }
}

impl Handmade {
    fn end_cache(&mut self) {
        if let Some((cache, threads)) = self.cache.take() {
            cache.closed.store(true, Ordering::SeqCst);
            drop(lock(&cache.queue));
            cache.more.notify_all();
            for thread in threads {
                let _ = thread.join();
            }
        }
    }
}

enum Read {
    /// Data and children, of a node that is new.
    Node(String),
    Data(String),
    Children(String),
}

struct Node {
    data: Vec<u8>,
    mzxid: i64,
    children: HashSet<String>,
}

struct Cache {
    client: Arc<ZooKeeper>,
    nodes: RwLock<HashMap<String, Node>>,
    queue: Mutex<VecDeque<Read>>,
    more: Condvar,
    /// Reads that are asked for and not done.
    outstanding: AtomicUsize,
    loaded: Condvar,
    closed: AtomicBool,
    heard: Arc<Heard>,
}

impl Cache {
    fn new(client: Arc<ZooKeeper>, heard: Arc<Heard>) -> Cache {
        Cache {
            client,
            nodes: RwLock::default(),
            queue: Mutex::default(),
            more: Condvar::new(),
            outstanding: AtomicUsize::new(0),
            loaded: Condvar::new(),
            closed: AtomicBool::new(false),
            heard,
        }
    }

    fn ask(&self, read: Read) {
        let mut queue = lock(&self.queue);
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        queue.push_back(read);
        drop(queue);
        self.more.notify_one();
    }

    fn wait_until_loaded(&self) {
        let queue = lock(&self.queue);
        let waited = self.loaded.wait_while(queue, |_| self.outstanding.load(Ordering::SeqCst) > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn work(self: &Arc<Self>) {
        loop {
            let queue = lock(&self.queue);
            let idle = |queue: &mut VecDeque<Read>| queue.is_empty() && !self.closed.load(Ordering::SeqCst);
            let mut queue = self.more.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let Some(wanted) = queue.pop_front() else { continue };
            drop(queue);
            let done = match &wanted {
                Read::Node(path) => self.read_data(path).and_then(|()| self.read_children(path)),
                Read::Data(path) => self.read_data(path),
                Read::Children(path) => self.read_children(path),
            };
            if let (Err(error), Read::Node(path) | Read::Data(path) | Read::Children(path)) = (done, &wanted)
            {
                match error {
                    ZkError::NoNode => self.remove(path),
                    // Whoever writes such a cache by hand would have to think of something here.
                    _ => eprintln!("{path}: {error:?}"),
                }
            }
            if self.outstanding.fetch_sub(1, Ordering::SeqCst) == 1 {
                drop(lock(&self.queue));
                self.loaded.notify_all();
            }
        }
    }

    fn read_data(self: &Arc<Self>, path: &str) -> Result<(), ZkError> {
        let (data, stat) = self.client.get_data_w(path, self.watcher())?;
        let mut nodes = write(&self.nodes);
        match nodes.get_mut(path) {
            // A slower thread may bring what is older.
            Some(node) if stat.mzxid <= node.mzxid => return Ok(()),
            Some(node) => (node.data, node.mzxid) = (data.clone(), stat.mzxid),
            None => {
                let node = Node { data: data.clone(), mzxid: stat.mzxid, children: HashSet::new() };
                nodes.insert(path.to_owned(), node);
            }
        }
        drop(nodes);
        self.heard.event(&data);
        Ok(())
    }

    fn read_children(self: &Arc<Self>, path: &str) -> Result<(), ZkError> {
        let names = self.client.get_children_w(path, self.watcher())?;
        let mut new = Vec::new();
        if let Some(node) = write(&self.nodes).get_mut(path) {
            new.extend(names.iter().filter(|name| !node.children.contains(*name)).cloned());
            node.children = names.into_iter().collect();
        }
        for name in new {
            self.ask(Read::Node(format!("{path}/{name}")));
        }
        Ok(())
    }

    fn remove(&self, path: &str) {
        if let Some(node) = write(&self.nodes).remove(path) {
            self.heard.event(&node.data);
        }
    }

    fn watcher(self: &Arc<Self>) -> impl Fn(WatchedEvent) + Send + 'static {
        let cache = Arc::downgrade(self);
        move |event| {
            let (Some(cache), Some(path)) = (cache.upgrade(), event.path) else { return };
            match event.event_type {
                WatchedEventType::NodeDataChanged => cache.ask(Read::Data(path)),
                WatchedEventType::NodeChildrenChanged => cache.ask(Read::Children(path)),
                WatchedEventType::NodeDeleted => cache.remove(&path),
                _ => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
