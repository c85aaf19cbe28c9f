//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// The flag that the first interrupt sets. Safe to call more than once.
pub(crate) fn flag() -> &'static AtomicBool {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let set = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                // Everything finished is on disk already: every write of a study is a transaction.
                std::process::exit(130);
            }
            eprintln!("\nstopping; everything finished is saved (press again to stop at once)");
        });
        if let Err(error) = set {
            tracing::warn!("interrupts cannot be caught: {error}");
        }
    });
    &STOP
}
