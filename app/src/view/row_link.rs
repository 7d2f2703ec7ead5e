//! The classes of the links in the lines of a timeline, by which the keyboard finds its way between them.

/// The class of every such link.
pub(super) const ROW_LINK: &str = "row-link";

/// The class of the link of a line that the arrow keys move to.
pub(super) const TAB_STOP: &str = "tab-stop";
