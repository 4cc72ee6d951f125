//! The entries of a hash that is in no kernel, for tests of what reads one (`untrusted/`).
//!
//! Invariant: a key is there once. Not a model of the kernel's maps: it never is full, and has no order.

use std::cell::RefCell;

use bytemuck::{Pod, bytes_of};

/// The entries.
#[derive(Debug)]
pub struct Pretended<K, V>(RefCell<Vec<(K, V)>>);

impl<K, V> Default for Pretended<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Pod, V: Pod> Pretended<K, V> {
    /// Adds an entry, or changes it.
    pub fn put(&self, key: K, value: V) {
        self.take(&key);
        self.0.borrow_mut().push((key, value));
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.borrow().iter().find(|(known, _)| bytes_of(known) == bytes_of(key)).map(|(_, value)| *value)
    }

    /// Removes an entry.
    pub fn take(&self, key: &K) -> Option<V> {
        let mut entries = self.0.borrow_mut();
        let at = entries.iter().position(|(known, _)| bytes_of(known) == bytes_of(key))?;
        Some(entries.swap_remove(at).1)
    }

    /// All of them; `removes`: they are gone then.
    pub fn all(&self, removes: bool) -> Vec<(K, V)> {
        if removes { self.0.take() } else { self.0.borrow().clone() }
    }
}
