//! Which instruction set the kernels use, and the dispatch of plain loops to it.

use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

/// An instruction set the kernels are compiled for; later ones are faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// What the target of the build always has (SSE2 on x86-64).
    Portable,
    /// AVX2 with fused multiply-add and population count: vectors of 8.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL): vectors of 16.
    Avx512,
}

impl Simd {
    /// All sets, the slowest first.
    pub const ALL: [Simd; 3] = [Simd::Portable, Simd::Avx2, Simd::Avx512];

    /// The fastest set of this processor.
    pub fn best() -> Simd {
        static BEST: OnceLock<Simd> = OnceLock::new();
        *BEST.get_or_init(|| {
            if has_avx512() {
                Simd::Avx512
            } else if has_avx2() {
                Simd::Avx2
            } else {
                Simd::Portable
            }
        })
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        self <= Simd::best()
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Simd::Portable => "portable",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// The set that the kernels use, by name in `NAS_SIMD` (`portable`, `avx2`, `avx512`), which is read once; the fastest one when
/// it is not set. Results are the same bits on one set, and differ in their last bits between two.
///
/// # Errors
/// When `NAS_SIMD` names no set or one this processor lacks. The kernels then go on with the fastest one, so a program
/// that wants to refuse calls this first.
pub fn simd() -> Result<Simd, String> {
    static SETTING: OnceLock<Result<Simd, String>> = OnceLock::new();
    SETTING.get_or_init(|| std::env::var("NAS_SIMD").map_or_else(|_| Ok(Simd::best()), |name| parse(&name))).clone()
}

fn parse(name: &str) -> Result<Simd, String> {
    let simd = Simd::ALL.into_iter().find(|simd| simd.to_string() == name);
    let simd = simd.ok_or_else(|| format!("NAS_SIMD is \"{name}\"; it may be portable, avx2 or avx512"))?;
    if !simd.is_available() {
        return Err(format!("NAS_SIMD is \"{simd}\", which this processor lacks; its fastest is {}", Simd::best()));
    }
    Ok(simd)
}

thread_local! {
    static FORCED: Cell<Option<Simd>> = const { Cell::new(None) };
}

/// Runs `f` with the kernels of this thread on `simd`: for tests and benchmarks that compare the paths.
///
/// # Panics
/// When this processor lacks it.
pub fn with_simd<R>(simd: Simd, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Simd>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    assert!(simd.is_available(), "{simd} is not available; the fastest set here is {}", Simd::best());
    let _restore = Restore(FORCED.replace(Some(simd)));
    f()
}

/// The set to use now on this thread; always one the processor has, which `dispatch` and the convolutions rely on.
pub(super) fn current() -> Simd {
    static CHOSEN: OnceLock<Simd> = OnceLock::new();
    FORCED.get().unwrap_or_else(|| *CHOSEN.get_or_init(|| simd().unwrap_or_else(|_| Simd::best())))
}

/// Runs a loop compiled for the current set. Mark the closure `#[inline(always)]`: only what is inlined gets vectorised.
#[inline]
pub(super) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    match current() {
        Simd::Portable => f(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `current` returns sets of this processor only.
        Simd::Avx2 => unsafe { avx2(f) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Simd::Avx512 => unsafe { avx512(f) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => f(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,popcnt")]
fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Runs `f` once on every set this processor has.
#[cfg(test)]
pub(super) fn on_every_simd(f: impl Fn(Simd)) {
    for simd in Simd::ALL.into_iter().filter(|simd| simd.is_available()) {
        with_simd(simd, || f(simd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_are_refused() {
        assert_eq!(parse("portable"), Ok(Simd::Portable));
        assert!(parse("sse9").unwrap_err().contains("portable, avx2 or avx512"));
        let refused = Simd::ALL.into_iter().filter(|simd| parse(&simd.to_string()).is_err()).count();
        assert_eq!(refused, Simd::ALL.iter().filter(|simd| !simd.is_available()).count());
    }

    #[test]
    fn forcing_is_undone() {
        let before = current();
        with_simd(Simd::Portable, || assert_eq!(current(), Simd::Portable));
        assert_eq!(current(), before);
    }
}
