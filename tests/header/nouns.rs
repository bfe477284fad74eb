//! The nouns of the C API: what belongs to each, and in which order one meets them.

use crate::items::{Header, Item, Kind};

/// A heading of the header and of the reference, and what stands below it.
pub struct Noun {
    pub title: &'static str,
    pub about: &'static str,
    /// The names that belong to it. One that ends with `*` stands for all that begin so.
    names: &'static [&'static str],
}

/// Each name belongs to one, and nothing is used before it is declared.
pub const NOUNS: [Noun; 14] = [
    Noun {
        title: "Library",
        about: "What is one for the whole process.",
        names: &["tc_version", "TC_VERSION_*", "tc_log_*"],
    },
    Noun {
        title: "Status codes",
        about: "What functions return, and what faults carry.",
        names: &["TC_OK", "TC_ERR_*", "tc_status_name"],
    },
    Noun {
        title: "Configuration",
        about: "Settings for what is made with them, by key, and why a call failed.",
        names: &["tc_config", "tc_config_*", "tc_error", "tc_error_free"],
    },
    Noun {
        title: "Fault",
        about: "What goes wrong in the background.",
        names: &["tc_fault", "tc_fault_fn", "tc_fault_free", "tc_user_free_fn"],
    },
    Noun {
        title: "Client",
        about: "A session with an ensemble. Caches are made from it.",
        names: &["tc_client", "tc_client_*"],
    },
    Noun {
        title: "Cache",
        about: "An in-memory copy of a subtree, and its life.",
        names: &[
            "tc_cache",
            "tc_new",
            "tc_new_or_error",
            "tc_attach",
            "tc_start",
            "tc_start_or_error",
            "tc_wait_initialized",
            "tc_wait_initialized_or_error",
            "tc_is_initialized",
            "tc_sync",
            "tc_sync_or_error",
            "tc_close",
            "tc_free",
        ],
    },
    Noun {
        title: "State",
        about: "How a cache stands to the server.",
        names: &[
            "tc_state",
            "TC_STATE_*",
            "tc_get_state",
            "tc_stats",
            "tc_stats_free",
            "tc_get_stats",
            "tc_get_fault",
        ],
    },
    Noun {
        title: "Node",
        about: "Data and Stat, of the newest version, from memory.",
        names: &["tc_stat", "tc_node", "tc_node_free", "tc_get_data", "tc_copy_data"],
    },
    Noun {
        title: "Children",
        about: "The children of a node, with their data or without, of the newest version, from memory.",
        names: &[
            "tc_children",
            "tc_children_free",
            "tc_children_data",
            "tc_children_data_free",
            "tc_get_children",
            "tc_get_children_data",
        ],
    },
    Noun {
        title: "Event",
        about: "What a listener is told, and what comes out of a queue.",
        names: &["tc_event", "TC_EVENT_*"],
    },
    Noun {
        title: "Snapshot",
        about: "One version, held for as long as it is needed.",
        names: &[
            "tc_snapshot",
            "tc_snapshot_*",
            "tc_get_snapshot",
            "tc_start_from",
            "tc_start_from_or_error",
            "tc_visit_fn",
            "tc_diff_fn",
            "TC_WALK_*",
        ],
    },
    Noun {
        title: "Walk",
        about: "A snapshot, gone through one node at a time.",
        names: &["tc_walk", "tc_walk_*", "tc_visit"],
    },
    Noun {
        title: "Listener",
        about: "Events and faults of a cache, told to a function.",
        names: &["tc_event_fn", "tc_listen", "tc_listen_with", "tc_listen_fault", "tc_unlisten"],
    },
    Noun {
        title: "Queue",
        about: "Events and faults, taken out by threads of the program.",
        names: &["tc_queue", "tc_queue_*", "tc_item", "tc_item_*"],
    },
];

impl Noun {
    fn claims(&self, name: &str) -> bool {
        self.names.iter().any(|claimed| match claimed.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *claimed == name,
        })
    }
}

/// The items of each noun, in its order: constants, types, functions, and last what frees. Panics when an item is no
/// noun's or that of several, when a noun has none, and when one is used before it is declared.
pub fn by_noun(items: Vec<Item>) -> Vec<(&'static Noun, Vec<Item>)> {
    let mut sections: Vec<_> = NOUNS.iter().map(|noun| (noun, Vec::new())).collect();
    for item in items {
        let mut claiming = sections.iter_mut().filter(|(noun, _)| noun.claims(&item.name));
        let (noun, section) =
            claiming.next().unwrap_or_else(|| panic!("{} is no noun's: see NOUNS", item.name));
        let other = claiming.next().map(|(noun, _)| noun.title);
        assert_eq!(other, None, "{} is of {} too: see NOUNS", item.name, noun.title);
        section.push(item);
    }
    for (noun, section) in &mut sections {
        assert!(!section.is_empty(), "nothing is of {}: see NOUNS", noun.title);
        section.sort_by_key(|item| (item.kind, item.frees()));
    }
    assert_declared_before_use(&sections);
    sections
}

fn assert_declared_before_use(sections: &[(&Noun, Vec<Item>)]) {
    let items: Vec<_> = sections.iter().flat_map(|(_, section)| section).collect();
    for (at, item) in items.iter().enumerate() {
        for name in item.mentions() {
            let is_later = items[at..].iter().any(|later| later.name == name && later.kind != Kind::Function);
            assert!(!is_later, "{} needs {name}, which comes later: see NOUNS", item.name);
        }
    }
}

/// The header, by noun.
pub fn header(header: Header) -> String {
    let mut text = header.opening;
    for (noun, section) in by_noun(header.items) {
        let rule = "-".repeat(104 - noun.title.len());
        text += &format!("/* --- {} {rule} */\n\n/* {} */\n\n", noun.title, noun.about);
        for item in section {
            text += &(item.text() + "\n");
        }
    }
    text + &header.closing
}
