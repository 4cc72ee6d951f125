//! Who stands below whom: a forest of places, laid out so that all below a node is one range.
//!
//! Pure: indices in, indices out. Whatever the parents are, also in a circle, every node is in the forest once.
//!
//! Invariant: a node stands before all below it, which end at [`Node::end`].

/// Deeper nodes stand at this depth: sums of ranges stay cheap, and indentation on the screen.
const DEEPEST: u16 = 48;

/// A node in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which one it is.
    pub item: u32,
    /// How deep it stands.
    pub depth: u16,
    /// Where what is below it ends.
    pub end: u32,
}

/// No node.
const NONE: u32 = u32::MAX;

/// A forest by first child and next sibling.
#[derive(Debug, Default)]
pub struct Forest {
    parents: Vec<u32>,
    first: Vec<u32>,
    next: Vec<u32>,
}

impl Forest {
    /// The forest of nodes with these parents; what is its own ancestor is a root.
    pub fn new(parents: impl Iterator<Item = Option<u32>>) -> Self {
        let parents: Vec<u32> = parents.map(|parent| parent.unwrap_or(NONE)).collect();
        let len = parents.len();
        let mut forest = Self { parents, first: vec![NONE; len], next: vec![NONE; len] };
        forest.settle();
        forest
    }

    /// Cuts circles, lifts what is too deep, and links siblings.
    fn settle(&mut self) {
        let len = self.parents.len();
        let mut depths = vec![u16::MAX; len];
        let mut path = Vec::new();
        for start in 0..len {
            path.clear();
            let mut at = start;
            // Up to something that is settled, or a root; a node of this path met again closes a circle.
            while depths[at] == u16::MAX {
                depths[at] = u16::MAX - 1;
                path.push(at);
                match self.parents.get(self.parents[at] as usize).map(|_| self.parents[at] as usize) {
                    Some(parent) if depths[parent] != u16::MAX - 1 => at = parent,
                    _ => {
                        self.parents[at] = NONE;
                        break;
                    }
                }
            }
            for &node in path.iter().rev() {
                depths[node] = self.depth_of(node, &depths);
            }
        }
        for node in (0..len).rev() {
            let parent = self.parents[node] as usize;
            if let Some(first) = self.first.get_mut(parent) {
                self.next[node] = std::mem::replace(first, index(node));
            }
        }
    }

    fn depth_of(&mut self, node: usize, depths: &[u16]) -> u16 {
        let parent = self.parents[node] as usize;
        match depths.get(parent).copied() {
            None => 0,
            Some(depth) if depth < DEEPEST => depth + 1,
            Some(depth) => {
                self.parents[node] = self.parents[parent];
                depth
            }
        }
    }

    /// All nodes, siblings in the order of `before`.
    pub fn laid_out(&self, mut before: impl FnMut(u32, u32) -> std::cmp::Ordering) -> Vec<Node> {
        let mut out: Vec<Node> = Vec::with_capacity(self.parents.len());
        let roots = (0..self.parents.len()).filter(|&node| self.parents[node] == NONE).map(index);
        let mut siblings: Vec<u32> = roots.collect();
        let mut stack: Vec<(u32, u16)> = Vec::new();
        let mut push = |siblings: &mut Vec<u32>, stack: &mut Vec<(u32, u16)>, depth| {
            siblings.sort_unstable_by(|a, b| before(*a, *b));
            stack.extend(siblings.drain(..).rev().map(|node| (node, depth)));
        };
        push(&mut siblings, &mut stack, 0);
        while let Some((item, depth)) = stack.pop() {
            out.push(Node { item, depth, end: 0 });
            let mut child = self.first[item as usize];
            while child != NONE {
                siblings.push(child);
                child = self.next[child as usize];
            }
            push(&mut siblings, &mut stack, depth + 1);
        }
        set_ends(&mut out);
        out
    }
}

/// Below a node is all that follows and stands deeper.
fn set_ends(nodes: &mut [Node]) {
    let mut open: Vec<usize> = Vec::new();
    for at in 0..=nodes.len() {
        let depth = nodes.get(at).map_or(0, |node| node.depth);
        while open.last().is_some_and(|&last| nodes[last].depth >= depth || at == nodes.len()) {
            if let Some(last) = open.pop() {
                nodes[last].end = index(at);
            }
        }
        open.push(at);
    }
}

/// There are fewer than 2^32 of anything that is shown.
#[expect(clippy::cast_possible_truncation, reason = "a host has fewer than 2^23 processes")]
const fn index(at: usize) -> u32 {
    at as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_number(parents: &[Option<u32>]) -> Vec<Node> {
        Forest::new(parents.iter().copied()).laid_out(|a, b| a.cmp(&b))
    }

    #[test]
    fn children_stand_below_their_parents_in_order() {
        let nodes = by_number(&[None, Some(3), Some(0), None, Some(0), Some(2)]);
        let shown: Vec<_> = nodes.iter().map(|n| (n.item, n.depth, n.end)).collect();
        assert_eq!(shown, [(0, 0, 4), (2, 1, 3), (5, 2, 3), (4, 1, 4), (3, 0, 6), (1, 1, 6)]);
    }

    #[test]
    fn circles_are_cut() {
        assert_eq!(by_number(&[Some(1), Some(2), Some(0), Some(3)]).len(), 4);
    }

    proptest! {
        #[test]
        fn every_node_is_there_once_whatever_its_parent(
            parents in proptest::collection::vec(proptest::option::of(0_u32..300), 0..300),
        ) {
            let nodes = by_number(&parents);
            let mut items: Vec<u32> = nodes.iter().map(|n| n.item).collect();
            items.sort_unstable();
            prop_assert_eq!(items, (0..index(parents.len())).collect::<Vec<_>>());
            for (at, node) in nodes.iter().enumerate() {
                prop_assert!(node.depth <= DEEPEST && node.end as usize > at);
                prop_assert!(nodes[at + 1..node.end as usize].iter().all(|below| below.depth > node.depth));
                prop_assert!(nodes.get(node.end as usize).is_none_or(|after| after.depth <= node.depth));
            }
        }

        #[test]
        fn a_long_chain_is_no_deeper_than_the_deepest(len in 1_u32..500) {
            let parents: Vec<Option<u32>> = (0..len).map(|n| n.checked_sub(1)).collect();
            let deepest = by_number(&parents).iter().map(|n| n.depth).max();
            prop_assert_eq!(deepest.map(u32::from), Some((len - 1).min(u32::from(DEEPEST))));
        }
    }
}
