//! The line that stands for messages whose author the reader has hidden.

use domain::{
    Problem, User,
    frame::ClientCommand,
    timeline::{HiddenMessages, Row, RowContent},
};
use leptos::{prelude::*, server_fn::ServerFn};

use super::line::Line;
use crate::{
    api::SetHidden,
    view::{about_dialog::ActionForm, problem_line::ProblemLine, reactive_view::reactive_text},
};

/// A line for messages of a user hidden by the reader, with a button to show them.
#[component]
pub fn HiddenMessagesView(
    /// The line of the timeline, whose number of messages changes.
    line: RwSignal<Line>,
    /// The hidden messages when the line is created.
    hidden: HiddenMessages,
) -> impl IntoView {
    let HiddenMessages { person: User { id, nickname }, count: first_count, .. } = hidden;
    let problem = RwSignal::new(None::<Problem>);
    let name = nickname.to_string();
    let count = move || {
        line.with(|line| match line {
            Line::Row(Row { content: RowContent::Hidden(hidden), .. }) => hidden.count,
            _ => first_count,
        })
    };
    let text = move || match count() {
        1 => "A message from ".to_owned(),
        count => format!("{count} messages from "),
    };
    view! {
        <li class="system hidden-messages">
            <span>{reactive_text(text)}</span>
            <bdi translate="no">{name.clone()}</bdi>
            ", whom you have hidden"
            <ActionForm
                action=SetHidden::PATH
                fields=vec![("person", id.to_string()), ("is_hidden", false.to_string())]
                ask=ClientCommand::SetHidden {
                    person: id,
                    is_hidden: false,
                }
                problem
                done=Callback::new(|()| ())
            >
                "Show"
                <span class="hidden">" " <bdi translate="no">{name}</bdi> " again"</span>
            </ActionForm>
            <ProblemLine problem />
        </li>
    }
}
