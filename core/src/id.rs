//! Names of operations and connections.

use alloc::vec::Vec;
use core::fmt;

/// Names one send while it is open. The caller chooses it: `index` is a small dense number (a slot
/// of the caller's own table) and `generation` tells apart the operations that used one slot.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId {
    /// The slot; below [`Config::operations_max`](crate::Config::operations_max).
    pub index: u32,
    /// Differs from one use of the slot to the next.
    pub generation: u32,
}

/// Names one connection, from the dial to the close. Never used twice, so a late report about a
/// dead connection cannot hit its successor.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// The number behind the name: for traces, and for a driver's table.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// A slot number that is free again once the connection is closed: dense, for a driver's table.
    pub const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.0 & 0xffff_ffff, self.0 >> 32)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op{}.{}", self.index, self.generation)
    }
}

/// Names the trace of a producer group; chosen by the caller, and not used again.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TracerId(pub u64);

/// Names a producer group that is registered with a client.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub(crate) u32);

/// Hands out operation names: the smallest free slots, each with a new generation.
#[derive(Debug, Default)]
pub struct OpIds {
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl OpIds {
    /// No name is in use.
    pub fn new() -> OpIds {
        OpIds::default()
    }

    /// A name that is not in use.
    pub fn allocate(&mut self) -> OpId {
        if let Some(index) = self.free.pop() {
            let generation = self.generations.get(index as usize).copied().unwrap_or(0);
            return OpId { index, generation };
        }
        let index = self.generations.len() as u32;
        self.generations.push(0);
        OpId { index, generation: 0 }
    }

    /// Gives a name back. Does nothing if it is not in use.
    pub fn free(&mut self, op: OpId) {
        if let Some(generation) = self.generations.get_mut(op.index as usize)
            && *generation == op.generation
        {
            *generation = generation.wrapping_add(1);
            self.free.push(op.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_comes_back_with_another_generation() {
        let mut ids = OpIds::new();
        let a = ids.allocate();
        let b = ids.allocate();
        assert_ne!(a.index, b.index);
        ids.free(a);
        ids.free(a);
        let c = ids.allocate();
        assert_eq!(c.index, a.index);
        assert_ne!(c.generation, a.generation);
        assert_ne!(ids.allocate().index, c.index);
    }
}
