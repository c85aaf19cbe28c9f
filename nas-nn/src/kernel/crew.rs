//! A crew: threads that share the work of one program, part by part.
//!
//! Trials run beside each other on one thread each, and that is the fastest way to use a machine. Where there are fewer
//! trials than cores, a crew lets one program use several. A thread pool would do it too, were it not that a trial
//! often runs in one already: whoever waits there for a part may be handed another whole trial meanwhile. Here the
//! leading thread works on parts itself, waits only for those that others have begun, and nothing is allocated.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use smallvec::SmallVec;

use super::simd::{Simd, current, with_simd};

/// Threads beside the one that leads them.
pub struct Crew {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// Work in parts: `run(data, part)` for every part.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), usize),
    data: *const (),
    parts: usize,
    simd: Simd,
}

/// What leader and workers meet at.
struct Shared {
    /// From the low bits: how many workers are at the job, whether more may join, whether all is over, and the job's
    /// number. A worker that comes late does not join, so nobody waits for it.
    state: AtomicU64,
    /// The next part that nobody works on.
    next: AtomicUsize,
    /// Written by the leader while no worker is at it, read by workers that have joined.
    job: UnsafeCell<Job>,
    /// How many workers sleep. They do after having looked for work for a while.
    sleeping: AtomicUsize,
    threads: usize,
    bed: Mutex<()>,
    wake: Condvar,
    /// What a part panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const WORKERS: u64 = 0xFFFF;
const OPEN: u64 = 1 << 16;
const OVER: u64 = 1 << 17;
const NUMBER: u64 = 1 << 18;
/// So many parts are handed out without allocating.
pub(crate) const MAX_PARTS: usize = 16;
/// How often a worker looks for work before it sleeps: about as long as a step of a small network takes.
const LOOKS: u32 = 4000;
/// Every so many looks, others get the processor.
const YIELD: u32 = 100;

// SAFETY: `job` is written only while no worker is at it and read only by those that joined after, which `state` orders.
// What its pointer leads to is shared by reference (`each` demands `Sync`) and outlives the job.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing belongs to one thread.
unsafe impl Send for Shared {}

thread_local! {
    /// The crew this thread leads now.
    static LED: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

impl Crew {
    /// A crew of `threads` threads, the one that will lead included.
    ///
    /// # Errors
    /// When the system starts no more threads, or there would be none or more than 65,536.
    pub fn new(threads: usize) -> io::Result<Self> {
        if threads == 0 || threads as u64 > WORKERS + 1 {
            let message = format!("a program runs on 1 to {} threads, not on {threads}", WORKERS + 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        /// # Safety
        /// None is needed: it does nothing.
        unsafe fn nothing(_: *const (), _: usize) {}
        let job = Job { run: nothing, data: std::ptr::null(), parts: 0, simd: Simd::Portable };
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(job),
            sleeping: AtomicUsize::new(0),
            threads,
            bed: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
        });
        let mut crew = Crew { shared, workers: Vec::with_capacity(threads - 1) };
        for number in 1..threads {
            let shared = Arc::clone(&crew.shared);
            let worker = thread::Builder::new().name(format!("crew {number}")).spawn(move || shared.work())?;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    /// The number of threads, the leading one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `f` while the kernels on this thread may leave parts of their work to the crew.
    pub fn lead<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let led: *const Shared = if self.workers.is_empty() { std::ptr::null() } else { &raw const *self.shared };
        let _restore = Led(LED.replace(led));
        f()
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.state.fetch_or(OVER, Ordering::SeqCst);
        self.shared.wake_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its parts panic with.
            let _ = worker.join();
        }
    }
}

/// Puts back what this thread led before.
struct Led(*const Shared);

impl Drop for Led {
    fn drop(&mut self) {
        LED.set(self.0);
    }
}

/// The number of threads that may share what this one does now.
pub(crate) fn threads() -> usize {
    let led = LED.get();
    // SAFETY: `lead` keeps the crew while it is led.
    if led.is_null() { 1 } else { unsafe { (*led).threads } }
}

/// Runs `f` on every item, in any order, on all threads of the crew this thread leads; in order without one. Kernels
/// inside `f` do not share their work further.
///
/// # Panics
/// When `f` does.
pub(crate) fn each<T: Send>(items: &mut [T], f: impl Fn(&mut T) + Sync) {
    struct Items<T, F> {
        first: *mut T,
        f: F,
    }
    /// # Safety
    /// `data` is an `Items<T, F>` with `part` in bounds, and nobody else has that item.
    unsafe fn run<T, F: Fn(&mut T)>(data: *const (), part: usize) {
        // SAFETY: passed on to the caller.
        let items = unsafe { &*data.cast::<Items<T, F>>() };
        // SAFETY: as above.
        (items.f)(unsafe { &mut *items.first.add(part) });
    }
    fn runner<T, F: Fn(&mut T)>(_: &Items<T, F>) -> unsafe fn(*const (), usize) {
        run::<T, F>
    }
    let led = LED.get();
    if led.is_null() || items.len() < 2 {
        return items.iter_mut().for_each(f);
    }
    let parts = items.len();
    let items = Items { first: items.as_mut_ptr(), f };
    let job = Job { run: runner(&items), data: (&raw const items).cast(), parts, simd: current() };
    // SAFETY: `lead` keeps the crew while it is led. Every part is handed out once, `items` outlives the job, an item may
    // be sent and the function shared.
    unsafe { (*led).lead(job) }
}

/// A slice that several threads write to, each where no other does.
pub(super) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed slice, and who takes stretches of it vouches that no two threads have the same.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(super) fn new(slice: &'a mut [f32]) -> Self {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), borrowed: PhantomData }
    }

    /// The stretch `range`.
    ///
    /// # Safety
    /// Nobody else has a stretch that overlaps it, while it is in use.
    ///
    /// # Panics
    /// When it reaches beyond the slice.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "what it is for")]
    pub(super) unsafe fn at(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} elements", self.len);
        // SAFETY: it lies in the slice (checked), and the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Runs `f` on ranges that together are `0..count`, on all threads of the crew this thread leads; on the whole without
/// one. `elements` is how many elements each of `count` stands for.
pub(super) fn ranges(count: usize, elements: usize, f: impl Fn(Range<usize>) + Sync) {
    let parts = (count.saturating_mul(elements) / ELEMENTS).min(threads()).min(MAX_PARTS).min(count);
    if parts < 2 {
        return f(0..count);
    }
    let mut all = SmallVec::<[Range<usize>; MAX_PARTS]>::new();
    all.extend((0..parts).map(|part| part * count / parts..(part + 1) * count / parts));
    each(&mut all, |range| f(range.clone()));
}

/// Elements that are worth a part of their own when each costs next to nothing: a few microseconds' worth of memory.
const ELEMENTS: usize = 1 << 14;

/// Runs `f` on ranges of `writes` and `reads`, all of one length, on all threads of the crew this thread leads; on the
/// whole without one. For loops over elements that do not see each other.
///
/// # Panics
/// When the lengths differ or `f` panics.
pub(crate) fn by_range<const W: usize, const R: usize>(
    writes: [&mut [f32]; W],
    reads: [&[f32]; R],
    f: impl Fn([&mut [f32]; W], [&[f32]; R]) + Sync,
) {
    let len = writes.first().map_or(0, |w| w.len());
    let equal = writes.iter().all(|w| w.len() == len) && reads.iter().all(|r| r.len() == len);
    assert!(equal, "slices of one length are needed");
    let parts = (len / ELEMENTS).min(threads()).min(MAX_PARTS);
    if parts < 2 {
        return f(writes, reads);
    }
    // Whole cache lines, so that no two threads write to one.
    let size = len.div_ceil(parts).next_multiple_of(16);
    let mut jobs = SmallVec::<[_; MAX_PARTS]>::new();
    let mut writes = writes.map(|w| w.chunks_mut(size));
    let mut reads = reads.map(|r| r.chunks(size));
    for _ in 0..len.div_ceil(size) {
        let next = "as many chunks as the length has";
        jobs.push(Some((
            writes.each_mut().map(|w| w.next().expect(next)),
            reads.each_mut().map(|r| r.next().expect(next)),
        )));
    }
    each(&mut jobs, |job| {
        let (writes, reads) = job.take().expect("a part is run once");
        f(writes, reads);
    });
}

impl Shared {
    /// Has `job` done and returns when it is.
    ///
    /// # Safety
    /// `job` may be run by any thread, each part once, until this returns; nobody else leads meanwhile.
    unsafe fn lead(&self, job: Job) {
        /// Lets nobody join any more and waits for those who have, even when a part panicked on this thread.
        struct Close<'a>(&'a Shared);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let mut state = self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
                let mut looks = 0_u32;
                while state & WORKERS > 0 {
                    looks += 1;
                    if looks.is_multiple_of(YIELD) {
                        thread::yield_now()
                    } else {
                        std::hint::spin_loop()
                    }
                    state = self.0.state.load(Ordering::Acquire);
                }
            }
        }
        // Nothing led while parts run here: they do not share further.
        let _led = Led(LED.replace(std::ptr::null()));
        // What a worker panicked with is lost if the leader did too.
        *lock(&self.panic) = None;
        // SAFETY: the last job is closed and no worker is at it, and only the leader writes.
        unsafe { *self.job.get() = job }
        self.next.store(0, Ordering::Relaxed);
        let before = self.state.load(Ordering::Relaxed);
        self.state.store((before + NUMBER) | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
        let close = Close(self);
        // SAFETY: passed on to the caller.
        unsafe { self.take_parts(job) }
        drop(close);
        if let Some(panic) = lock(&self.panic).take() {
            resume_unwind(panic);
        }
    }

    /// Runs parts until all are taken.
    ///
    /// # Safety
    /// As for [`Shared::lead`].
    unsafe fn take_parts(&self, job: Job) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= job.parts {
                return;
            }
            // SAFETY: the counter gives every part once.
            unsafe { (job.run)(job.data, part) }
        }
    }

    fn wake_all(&self) {
        drop(lock(&self.bed));
        self.wake.notify_all();
    }

    /// The life of a worker.
    fn work(&self) {
        let mut done = 0;
        while let Some(state) = self.wait(done) {
            if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // Others came or went, or it is closed: look again.
                continue;
            }
            done = state / NUMBER;
            // SAFETY: it was written before the job was opened and is not until this worker has left.
            let job = unsafe { *self.job.get() };
            let parts = AssertUnwindSafe(|| {
                // SAFETY: the leader waits until this worker has left.
                with_simd(job.simd, || unsafe { self.take_parts(job) });
            });
            if let Err(panic) = catch_unwind(parts) {
                *lock(&self.panic) = Some(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// The state once a job other than number `done` may be joined; nothing when all is over.
    fn wait(&self, done: u64) -> Option<u64> {
        let ready = || {
            let state = self.state.load(Ordering::SeqCst);
            (state & OVER > 0 || (state & OPEN > 0 && state / NUMBER != done)).then_some(state)
        };
        let state = loop {
            let look = |n: u32| {
                if n.is_multiple_of(YIELD) {
                    thread::yield_now()
                } else {
                    std::hint::spin_loop()
                }
                ready()
            };
            if let Some(state) = (0..LOOKS).find_map(look) {
                break state;
            }
            let guard = lock(&self.bed);
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            // The leader looks for sleepers after it opened a job: one of the two sees the other.
            let found = ready();
            if found.is_none() {
                drop(self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
            }
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
            if let Some(state) = found {
                break state;
            }
        };
        (state & OVER == 0).then_some(state)
    }
}

/// Nothing is left half done under these locks, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every item is worked on once, whatever the number of threads.
    #[test]
    fn every_part_once() {
        for threads in [1, 2, 3, 8] {
            let mut crew = Crew::new(threads).unwrap();
            for round in 0..200_u64 {
                let mut items: Vec<u64> = (0..round % 20).collect();
                crew.lead(|| each(&mut items, |x| *x = *x * 3 + round));
                assert!(items.iter().zip(0..).all(|(&x, i)| x == i * 3 + round), "{threads} threads: {items:?}");
            }
        }
    }

    #[test]
    fn workers_that_sleep_are_woken() {
        let mut crew = Crew::new(3).unwrap();
        for _ in 0..3 {
            while crew.shared.sleeping.load(Ordering::SeqCst) < 2 {
                thread::yield_now();
            }
            let names = Mutex::new(std::collections::BTreeSet::new());
            let mut items = [(); 3];
            // Each part waits until all have begun, so that all three threads must come.
            let begun = AtomicUsize::new(0);
            crew.lead(|| {
                each(&mut items, |()| {
                    lock(&names).insert(format!("{:?}", thread::current().id()));
                    begun.fetch_add(1, Ordering::SeqCst);
                    while begun.load(Ordering::SeqCst) < 3 {
                        thread::yield_now();
                    }
                });
            });
            assert_eq!(lock(&names).len(), 3);
        }
    }

    #[test]
    fn parts_use_the_leaders_instruction_set_and_share_no_further() {
        let mut crew = Crew::new(2).unwrap();
        let mut found = [(Simd::Avx512, 0); 8];
        with_simd(Simd::Portable, || crew.lead(|| each(&mut found, |x| *x = (current(), threads()))));
        assert_eq!(found, [(Simd::Portable, 1); 8]);
        assert_eq!(threads(), 1, "only inside");
    }

    #[test]
    fn ranges_cover_everything_once() {
        for len in [0, 1, ELEMENTS, 2 * ELEMENTS + 5, 20 * ELEMENTS + 1] {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let (mut y, mut z) = (vec![1.0; len], vec![2.0; len]);
            let mut crew = Crew::new(3).unwrap();
            crew.lead(|| {
                by_range([&mut y, &mut z], [&x], |[y, z], [x]| {
                    for ((y, z), x) in y.iter_mut().zip(z).zip(x) {
                        (*y, *z) = (*y + x, *z * x);
                    }
                });
            });
            assert!(y.iter().zip(&z).zip(&x).all(|((&y, &z), &x)| y == 1.0 + x && z == 2.0 * x), "{len}");
        }
    }

    #[test]
    fn disjoint_stretches_of_one_slice() {
        let mut y = vec![0.0; 40 * ELEMENTS / 8];
        let mut crew = Crew::new(3).unwrap();
        let shared = Disjoint::new(&mut y);
        crew.lead(|| {
            ranges(40, ELEMENTS / 8, |range| {
                for i in range {
                    // SAFETY: every number is in one range.
                    unsafe { shared.at(i * ELEMENTS / 8..(i + 1) * ELEMENTS / 8) }.fill(i as f32);
                }
            });
        });
        assert!(y.chunks(ELEMENTS / 8).enumerate().all(|(i, y)| y.iter().all(|&y| y == i as f32)));
    }

    #[test]
    #[should_panic(expected = "2..5 of 4 elements")]
    fn stretches_beyond_the_end() {
        // SAFETY: nobody else has the slice.
        unsafe { Disjoint::new(&mut [0.0; 4]).at(2..5) };
    }

    #[test]
    fn a_panic_arrives_and_the_crew_goes_on() {
        let mut crew = Crew::new(3).unwrap();
        for bad in 0..6 {
            let mut items = [0, 1, 2, 3, 4, 5];
            let result = catch_unwind(AssertUnwindSafe(|| {
                crew.lead(|| each(&mut items, |x| assert!(*x != bad, "part {x}")));
            }));
            let panic = result.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("part {bad}"));
            crew.lead(|| each(&mut items, |x| *x += 1));
            assert_eq!(items, [1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn many_panics_at_once_are_one() {
        let mut crew = Crew::new(3).unwrap();
        for round in 0..50 {
            let mut items = [0; 12];
            let lead = AssertUnwindSafe(|| crew.lead(|| each(&mut items, |_| panic!("round {round}"))));
            let panic = catch_unwind(lead).unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("round {round}"));
            assert_eq!(threads(), 1, "nobody leads any more");
            crew.lead(|| each(&mut items, |x| *x += 1));
            assert_eq!(items, [1; 12]);
        }
    }

    #[test]
    fn no_threads_or_too_many_are_an_error() {
        assert!(Crew::new(0).unwrap_err().to_string().contains("not on 0"));
        assert!(Crew::new(1 << 17).is_err());
    }
}
