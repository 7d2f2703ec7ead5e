//! Why an action was not done, shown next to it.

use domain::Problem;
use leptos::prelude::*;

use crate::{
    live::{Connection, Live},
    reactive::effect,
    view::reactive_view::optional_text,
};

/// A line with a problem, empty if there is none. [`Problem::NotConnected`] is cleared once the page is connected.
#[component]
pub fn ProblemLine(
    /// The problem to show. `None` if there is none.
    problem: RwSignal<Option<Problem>>,
) -> impl IntoView {
    if let Some(live) = use_context::<Live>() {
        effect(move || {
            let is_back = matches!(live.connection.get(), Connection::Connected | Connection::Polling);
            if is_back && problem.get_untracked() == Some(Problem::NotConnected) {
                problem.set(None);
            }
        });
    }
    view! {
        <p class="problem" role="alert">
            {optional_text(move || problem.get().map(|problem| problem.to_string()))}
        </p>
    }
    .into_any()
}
