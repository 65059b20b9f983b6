//! A graph with named nodes, and the shortest circle in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From a node to those that it uses, with what shows that it does.
pub struct Graph<Node, Evidence>(BTreeMap<Node, BTreeMap<Node, Evidence>>);

impl<Node: Copy + Ord, Evidence: Copy> Graph<Node, Evidence> {
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The first evidence of a use is kept. A node may use itself.
    pub fn add(&mut self, from: Node, to: Node, evidence: Evidence) {
        if from != to {
            self.0.entry(from).or_default().entry(to).or_insert(evidence);
        }
    }

    /// The shortest circle of every use that is part of one, as the uses that make it; short ones first.
    pub fn circles(&self) -> Vec<Vec<(Node, Node, Evidence)>> {
        let uses = self
            .0
            .iter()
            .flat_map(|(&from, ends)| ends.keys().map(move |&to| (from, to)));
        let circles: BTreeSet<Vec<Node>> = uses
            .filter_map(|(from, to)| self.way(to, from))
            .map(|mut circle| {
                let first = (0..circle.len()).min_by_key(|&at| circle[at]).unwrap_or_default();
                circle.rotate_left(first);
                circle
            })
            .collect();
        let mut circles: Vec<Vec<Node>> = circles.into_iter().collect();
        circles.sort_by_key(Vec::len);
        circles.iter().map(|circle| self.uses(circle)).collect()
    }

    /// The nodes of the shortest way from one node to another, both included.
    fn way(&self, start: Node, end: Node) -> Option<Vec<Node>> {
        let mut came_from: BTreeMap<Node, Node> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(node) = waiting.pop_front() {
            for &next in self.0.get(&node).into_iter().flat_map(BTreeMap::keys) {
                if next != start && !came_from.contains_key(&next) {
                    came_from.insert(next, node);
                    waiting.push_back(next);
                }
            }
        }
        let mut way = vec![end];
        while *way.last()? != start {
            way.push(*came_from.get(way.last()?)?);
        }
        way.reverse();
        Some(way)
    }

    fn uses(&self, circle: &[Node]) -> Vec<(Node, Node, Evidence)> {
        let ends = circle.iter().skip(1).chain(&circle[..1]);
        circle
            .iter()
            .zip(ends)
            .map(|(&from, &to)| (from, to, self.0[&from][&to]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(uses: &[(char, char)]) -> Vec<String> {
        let mut graph = Graph::new();
        for &(from, to) in uses {
            graph.add(from, to, ());
        }
        let names = |circle: Vec<(char, char, ())>| circle.iter().map(|&(from, _, ())| from).collect();
        graph.circles().into_iter().map(names).collect()
    }

    #[test]
    fn without_a_circle_there_is_none() {
        assert!(circles(&[('a', 'b'), ('a', 'c'), ('b', 'd'), ('c', 'd'), ('d', 'd')]).is_empty());
    }

    #[test]
    fn each_use_is_in_the_shortest_circle_that_it_makes() {
        let uses = [('a', 'b'), ('b', 'c'), ('c', 'a'), ('c', 'd'), ('d', 'c')];
        assert_eq!(circles(&uses), ["cd", "abc"]);
        // `ad` makes none that is shorter.
        let uses = [('a', 'b'), ('b', 'a'), ('a', 'd'), ('d', 'e'), ('e', 'b')];
        assert_eq!(circles(&uses), ["ab", "adeb"]);
    }

    #[test]
    fn circles_that_do_not_touch_are_all_found() {
        let uses = [('a', 'b'), ('b', 'a'), ('b', 'c'), ('c', 'd'), ('d', 'e'), ('e', 'c')];
        assert_eq!(circles(&uses), ["ab", "cde"]);
    }
}
