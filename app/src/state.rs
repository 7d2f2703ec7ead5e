//! What a live page knows, and views that follow it. Leptos' signals with their values behind one type each: a browser is
//! sent the machine of a signal once, and not once for each type of value, and has to compile it once as well
//! (docs/performance.md).

use std::{
    any::Any,
    marker::PhantomData,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use leptos::{
    prelude::{Effect, Get, GetUntracked, GetValue, Memo, Notify, StoredValue, Track},
    reactive::signal::ArcTrigger,
};

/// A value of whatever type behind a lock.
type Value = Arc<dyn Any + Send + Sync>;

/// Something that changes, and whom to tell. As long as its owner is there, the same as `RwSignal`.
pub struct State<T> {
    node: StoredValue<(ArcTrigger, Value)>,
    of: PhantomData<fn() -> T>,
}

/// Something that follows from what changes, computed when it is asked for. Who follows it is told when it differs from
/// what it was, the same as `Memo`.
pub struct Derived<T> {
    value: StoredValue<Value>,
    /// Counts how often it has become something else.
    version: Memo<u64>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for State<T> {}

impl<T> Clone for Derived<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Derived<T> {}

/// The value behind a lock, to be looked at.
fn read<T: 'static>(value: &Value) -> RwLockReadGuard<'_, T> {
    lock(value).read().unwrap_or_else(PoisonError::into_inner)
}

/// The value behind a lock, to be changed.
fn write<T: 'static>(value: &Value) -> RwLockWriteGuard<'_, T> {
    lock(value).write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T: 'static>(value: &Value) -> &RwLock<T> {
    let Some(lock) = value.downcast_ref() else { unreachable!("a value has one type") };
    lock
}

/// A value that is followed from now on.
fn follow(node: StoredValue<(ArcTrigger, Value)>) -> Value {
    let (changed, value) = node.get_value();
    changed.track();
    value
}

impl<T: Send + Sync + 'static> State<T> {
    /// A state that is this at first.
    pub fn new(value: T) -> Self {
        Self { node: new_node(Arc::new(RwLock::new(value))), of: PhantomData }
    }

    /// Looks at it, and follows it.
    pub fn with<R>(self, look: impl FnOnce(&T) -> R) -> R {
        look(&read(&follow(self.node)))
    }

    /// Looks at it once.
    pub fn with_untracked<R>(self, look: impl FnOnce(&T) -> R) -> R {
        look(&read(&self.node.get_value().1))
    }

    /// Changes it. Once its owner has gone nothing happens: an answer may come after what it was asked for.
    pub fn update(self, change: impl FnOnce(&mut T)) {
        if let Some((changed, value)) = self.node.try_get_value() {
            change(&mut write(&value));
            changed.notify();
        }
    }

    /// Makes it something else. Once its owner has gone nothing happens.
    pub fn set(self, new: T) {
        if let Some((changed, value)) = self.node.try_get_value() {
            *write(&value) = new;
            changed.notify();
        }
    }
}

fn new_node(value: Value) -> StoredValue<(ArcTrigger, Value)> {
    StoredValue::new((ArcTrigger::new(), value))
}

impl<T: Clone + Send + Sync + 'static> State<T> {
    /// What it is; followed from now on.
    pub fn get(self) -> T {
        self.with(T::clone)
    }

    /// What it is now.
    pub fn get_untracked(self) -> T {
        self.with_untracked(T::clone)
    }
}

impl<T: PartialEq + Send + Sync + 'static> Derived<T> {
    /// What follows, from what it was before and from what is looked at meanwhile.
    pub fn new(derive: impl Fn(Option<&T>) -> T + Send + Sync + 'static) -> Self {
        let value: Value = Arc::new(RwLock::new(None::<T>));
        let kept = Arc::clone(&value);
        let differs = Box::new(move || {
            let new = derive(read::<Option<T>>(&kept).as_ref());
            let differs = read::<Option<T>>(&kept).as_ref() != Some(&new);
            if differs {
                *write(&kept) = Some(new);
            }
            differs
        });
        let (value, version) = new_derived(value, differs);
        Self { value, version, of: PhantomData }
    }

    /// Looks at it, and follows it.
    pub fn with<R>(self, look: impl FnOnce(&T) -> R) -> R {
        self.version.get();
        self.look(look)
    }

    /// Looks at it once.
    pub fn with_untracked<R>(self, look: impl FnOnce(&T) -> R) -> R {
        self.version.get_untracked();
        self.look(look)
    }

    fn look<R>(self, look: impl FnOnce(&T) -> R) -> R {
        match &*read(&self.value.get_value()) {
            Some(value) => look(value),
            None => unreachable!("it was derived before"),
        }
    }
}

/// Keeps a value, and its version: one more than before each time that it is said to differ.
fn new_derived(
    value: Value,
    differs: Box<dyn Fn() -> bool + Send + Sync>,
) -> (StoredValue<Value>, Memo<u64>) {
    let version =
        Memo::new(move |version: Option<&u64>| version.copied().unwrap_or_default() + u64::from(differs()));
    (StoredValue::new(value), version)
}

impl<T: Clone + PartialEq + Send + Sync + 'static> Derived<T> {
    /// What it is; followed from now on.
    pub fn get(self) -> T {
        self.with(T::clone)
    }

    /// What it is now.
    pub fn get_untracked(self) -> T {
        self.with_untracked(T::clone)
    }
}

/// Does something in the browser, once the page has been taken over, and again whenever something it looked at changes.
pub fn effect(act: impl FnMut() + 'static) {
    let act: Box<dyn FnMut()> = Box::new(act);
    Effect::new(act);
}

/// As [`effect`], and is given what came of it the last time.
pub fn effect_with_last<T: 'static>(mut act: impl FnMut(Option<T>) -> T + 'static) {
    let mut last = None;
    effect(move || last = Some(act(last.take())));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use leptos::prelude::Owner;

    use super::*;

    #[test]
    fn what_has_gone_takes_no_notice() {
        let owner = Owner::new();
        let gone = owner.with(|| State::new(1));
        owner.cleanup();
        gone.set(2);
        gone.update(|value| *value += 1);
    }

    #[test]
    fn what_follows_is_computed_once_for_each_change_and_told_when_it_differs() {
        let computed = |counter: &Arc<AtomicU64>| counter.load(Ordering::Relaxed);
        Owner::new().with(|| {
            let (halves, sums) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let (half_counter, sum_counter) = (Arc::clone(&halves), Arc::clone(&sums));
            let state = State::new(4);
            let half = Derived::new(move |_| {
                half_counter.fetch_add(1, Ordering::Relaxed);
                state.get() / 2
            });
            let sum = Derived::new(move |before: Option<&i32>| {
                sum_counter.fetch_add(1, Ordering::Relaxed);
                before.copied().unwrap_or_default() + half.get()
            });
            assert_eq!((sum.get(), sum.get(), half.get_untracked()), (2, 2, 2));
            assert_eq!((computed(&halves), computed(&sums)), (1, 1));
            state.set(5);
            assert_eq!((sum.get(), half.get()), (2, 2));
            assert_eq!((computed(&halves), computed(&sums)), (2, 1), "half of it is the same");
            state.update(|value| *value = 6);
            assert_eq!((sum.get(), half.with(|half| *half)), (5, 3));
        });
    }
}
