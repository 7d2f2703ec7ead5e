//! Changes of elements that stay on the page.

use leptos::tachys::renderer::{Rndr, types};

use super::{Element, Node};

/// The attribute by which children are known again: the value of a button or a field.
const KEY: &str = "value";

impl Element {
    /// Changes the content of an element in the browser, which has that of `shown`. Children that all have a value stay where
    /// it is the same, and with them the focus and what is pressed; others are made anew.
    pub(super) fn fill_again(&self, shown: &Self, element: &types::Element) {
        if !self.keep_children(shown, element) {
            element.set_text_content(None);
            self.fill(element);
        }
    }

    /// Returns false, and does nothing, if the children cannot be told apart, or something else has changed them.
    fn keep_children(&self, shown: &Self, element: &types::Element) -> bool {
        let (Some(new), Some(old)) = (self.keyed_children(), shown.keyed_children()) else { return false };
        let children = element.children();
        let there: Vec<types::Element> =
            (0..children.length()).filter_map(|place| children.item(place)).collect();
        if there.len() != old.len() || old.is_empty() {
            return false;
        }
        let there: Vec<_> = old.into_iter().zip(there).collect();
        for ((key, _), child) in &there {
            if new.iter().all(|(other, _)| other != key) {
                child.remove();
            }
        }
        for (place, (key, child)) in (0..).zip(new) {
            let kept = there.iter().find(|((other, _), _)| *other == key);
            let made = match kept {
                Some(((_, before), kept)) => {
                    child.change(before, kept);
                    kept.clone()
                }
                None => child.create(),
            };
            let next = children.item(place);
            if next.as_ref() != Some(&made) {
                Rndr::insert_node(element, &made, next.as_deref());
            }
        }
        true
    }

    /// Changes an element in the browser that is shown as another one of the same name.
    fn change(&self, shown: &Self, element: &types::Element) {
        for (name, value) in &self.attributes {
            if !shown.attributes.iter().any(|(other, before)| other == name && before == value) {
                Rndr::set_attribute(element, name, value);
            }
        }
        for (name, _) in &shown.attributes {
            if self.attributes.iter().all(|(other, _)| other != name) {
                Rndr::remove_attribute(element, name);
            }
        }
        if self.children != shown.children {
            element.set_text_content(None);
            self.fill(element);
        }
    }

    /// Returns the children with their keys: name and value. `None` if one of them has no value, or the same as another.
    fn keyed_children(&self) -> Option<Vec<((&'static str, &str), &Self)>> {
        let mut keyed: Vec<((&'static str, &str), &Self)> = Vec::with_capacity(self.children.len());
        for child in &self.children {
            let Node::Element(child) = child else { return None };
            let (_, value) = child.attributes.iter().find(|(name, _)| *name == KEY)?;
            let key = (child.name, value.as_str());
            if keyed.iter().any(|(other, _)| *other == key) {
                return None;
            }
            keyed.push((key, child));
        }
        Some(keyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn button(value: &str) -> Node {
        Node::Element(Element::new("button", vec![Node::Text(value.to_owned())]).with(KEY, value))
    }

    #[test]
    fn children_are_known_by_their_values_if_all_have_another_one() {
        let keys = |children: Vec<Node>| {
            let parent = Element::new("form", children);
            parent
                .keyed_children()
                .map(|keyed| keyed.iter().map(|((_, key), _)| (*key).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(keys(vec![button("a"), button("b")]), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(keys(vec![button("a"), button("a")]), None);
        assert_eq!(keys(vec![button("a"), Node::Text("b".to_owned())]), None);
        assert_eq!(keys(vec![Node::Element(Element::new("p", Vec::new()))]), None);
    }
}
