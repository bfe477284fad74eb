//! The example `conformance`, which tells what a cache would find at a server.

use treecache_test_support::{Server, Version, Witness, shared, unique_root};

use crate::subject::plant;

#[path = "../../examples/conformance/questions.rs"]
mod questions;
#[path = "../../examples/conformance/wire.rs"]
mod wire;

const WITHOUT_WRITING: &str = "\
Connections
  a session outlives its connection                    yes
  who has seen more than the server is refused         yes

Operations
  exists                                               yes
  getData                                              yes
  getChildren2                                         yes
  sync                                                 yes
  multiRead                                            yes
  setWatches                                           yes
  addWatch, persistent                                 yes
  addWatch, recursive                                  yes
  removeWatches                                        yes
  the node in which a ClickHouse Keeper shows itself   no
";

/// As Debian's 3.8.0 does it.
const WITH_WRITING: &str = "  \
  create                                               yes
  setData                                              yes
  multi                                                yes
  create, a container                                  yes
  a multi of one check is a transaction of its own     yes

Order
  a change is told before a reply shows it             yes (100 of 100)
  headers name what their replies show                 yes
  headers name nothing that is still to come           yes
  headers never go back                                yes
  a multiRead is of one zxid                           yes
  a read that fails in it has a result of its own kind yes

What differs
  setWatches says that a node is not there             before the reply
  what a recursive watch names is                      the node that has changed
  notifications name the zxid                          no
  who may not read a node is told of it                no
  exists asks who may read                             no
  cversion moves when the data of a child is set       no
  pzxid moves when a child is deleted                  yes

A cache there
  with watch=auto it has                               recursive watches
  what is promised is                                  what docs/guarantees.md says
";

fn report(server: &Server, path: Option<&str>) -> String {
    questions::ask(server.addr(), path).expect("a report")
}

#[test]
fn a_zookeeper_is_found_to_be_one_and_nothing_is_left_behind() {
    let (server, root) = (shared(), unique_root("conformance"));
    if Version::from_env() != Version::Debian {
        return eprintln!("not tested: the server's version is {:?}", server.version());
    }
    let witness = Witness::connect(&server.hosts());
    plant(&witness, &root, &[]);
    assert_eq!(report(server, Some(&root)), [WITHOUT_WRITING, WITH_WRITING].concat());
    assert_eq!(witness.children(&root), Some(Vec::new()));
    // Without a path there is nothing that it could have written.
    let read_only = report(server, None);
    let rest = read_only.strip_prefix(WITHOUT_WRITING).expect("the same");
    assert!(rest.contains("recursive watches") && rest.contains("not known: nothing was written"), "{rest}");
    assert!(!rest.contains("Order"), "{rest}");
    let unwritable = questions::ask(server.addr(), Some("/conformance/none"));
    assert!(unwritable.is_err_and(|error| error.contains("no node can be made below /conformance/none")));
}

#[test]
fn a_server_without_recursive_watches_is_told_to_have_one_shot_watches() {
    if Version::from_env() != Version::Debian {
        return eprintln!("not tested: the server's version is {:?}", shared().version());
    }
    let manager = "org.apache.zookeeper.server.watch.WatchManagerOptimized";
    let server = Server::builder().property("zookeeper.watchManagerName", manager).start();
    let report = report(&server, Some("/"));
    for line in [
        "addWatch, recursive                                  no: MARSHALLINGERROR (-5)\n",
        "a change is told before a reply shows it             yes (100 of 100)\n",
        "with watch=auto it has                               one-shot watches\n",
        "what is promised is                                  what docs/guarantees.md says\n",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
}
