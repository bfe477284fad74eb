//! Where panics end: on the library's threads, around listeners, and at the boundary to C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::escape::Escaped;

/// Runs `body`. A panic in it ends here: its message is returned as the error.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let message = Escaped(message_of(&*panic)).to_string();
        // The payload of the panic may panic when it is dropped. The payload of that second panic is leaked.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        message
    })
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        _ => "no message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    #[test]
    fn a_panic_ends_with_what_it_said() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| panic!("on purpose")), Err::<(), _>("on purpose".to_owned()));
        assert_eq!(catch(|| panic!("number {}", 3)), Err::<(), _>("number 3".to_owned()));
        assert_eq!(catch(|| panic_any(7)), Err::<(), _>("no message".to_owned()));
    }

    #[test]
    fn what_was_thrown_may_panic_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(Bomb);
            }
        }
        assert_eq!(catch(|| panic_any(Bomb)), Err::<(), _>("no message".to_owned()));
    }
}
