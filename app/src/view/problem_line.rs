//! Why something was not done, beside what one did.

use domain::Problem;
use leptos::prelude::*;

use crate::{
    live::{Connection, Live},
    view::follow::maybe_words,
};

/// A line that says what is wrong, and nothing where nothing is. That there is no connection is said for as long as that
/// is so.
#[component]
pub fn ProblemLine(
    /// What is wrong.
    problem: RwSignal<Option<Problem>>,
) -> impl IntoView {
    if let Some(live) = use_context::<Live>() {
        Effect::new(move |_| {
            let is_back = matches!(live.connection.get(), Connection::Connected | Connection::Polling);
            if is_back && problem.get_untracked() == Some(Problem::NotConnected) {
                problem.set(None);
            }
        });
    }
    view! {
        <p class="problem" role="alert">
            {maybe_words(move || problem.get().map(|problem| problem.to_string()))}
        </p>
    }
    .into_any()
}
