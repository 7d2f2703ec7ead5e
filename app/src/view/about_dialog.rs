//! The details of a user or a message, with what the reader can do about it. Each link to it is the address of a page
//! with the same forms, so that it works without a script.

use domain::{ChatId, Problem, Seq, UserId, frame::ClientCommand, page::About};
use leptos::{
    ev::{MouseEvent, SubmitEvent},
    html::Dialog,
    prelude::*,
    server_fn::ServerFn,
    wasm_bindgen::JsCast,
    web_sys::{Event, HtmlDialogElement, HtmlElement},
};

use crate::{
    api::{RemoveMessage, RemovePerson, SetHidden, SetRemoved},
    live::{LiveChat, press_once},
    reactive::{effect, memo},
    view::{
        avatar::Avatar,
        composer::ComposerField,
        icon,
        message_body::breakable,
        problem_line::ProblemLine,
        reactive_view::{Show, reactive_view},
        row_link::{ROW_LINK, TAB_STOP},
        space_key::press_by_space,
    },
};

/// The class of the links to details.
const ABOUT_LINK: &str = "about-link";

/// The role of the links once the page is hydrated, and what they open.
const BUTTON: &str = "button";
const DIALOG: &str = "dialog";

/// Returns the address of a chat with the details of a message open.
pub fn message_address(chat: ChatId, message: Seq) -> String {
    format!("/chat/{chat}?message={message}")
}

/// Returns the address of a form to edit a message.
fn edit_address(chat: ChatId, message: Seq) -> String {
    format!("/chat/{chat}?edit={message}")
}

/// Returns the address of a chat with the details of a user open.
pub fn person_address(chat: ChatId, person: UserId) -> String {
    format!("/chat/{chat}?person={person}")
}

/// A link to the details of a user or a message.
#[component]
pub fn AboutLink(
    /// The address of a page that shows the details.
    address: String,
    /// The accessible name and the tooltip.
    #[prop(into)]
    label: String,
    /// Returns the user and message whose details are shown, when the link is clicked. `None` if they are not known.
    about: Callback<(), Option<About>>,
    /// Whether it is one of many links that the arrow keys move between. Tab does not stop at each of these.
    #[prop(optional)]
    one_of_many: bool,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let show = move |event: MouseEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            chat.about.set(about.run(()));
        }
    };
    // Without a script it is an ordinary link. Links that the server rendered get their role from `AboutView`.
    let is_hydrated = live.is_hydrated.get_untracked();
    let tabindex = (one_of_many && is_hydrated).then_some("-1");
    let class =
        if one_of_many { format!("{ABOUT_LINK} {ROW_LINK} {TAB_STOP}") } else { ABOUT_LINK.to_owned() };
    view! {
        <a
            class=class
            role=is_hydrated.then_some(BUTTON)
            href=address
            aria-label=label.clone()
            title=label
            aria-haspopup=is_hydrated.then_some(DIALOG)
            tabindex=tabindex
            on:click=show
            on:keydown=press_by_space
        >
            {icon::more()}
        </a>
    }
}

/// The dialog with the details of a user or a message, while it is open.
#[component]
pub fn AboutView() -> impl IntoView {
    let chat = LiveChat::from_context();
    // One effect for all links: an effect in each link would be one more for each message on the page.
    effect(move || {
        if chat.live.is_hydrated.get() {
            let links = document().get_elements_by_class_name(ABOUT_LINK);
            for link in (0..links.length()).filter_map(|place| links.item(place)) {
                let _ = link.set_attribute("role", BUTTON);
                let _ = link.set_attribute("aria-haspopup", DIALOG);
            }
        }
    });
    reactive_view(move || chat.about.get().map(|about| view! { <AboutDialog about /> }).into_any())
}

/// An open dialog with the details of a user or a message.
#[component]
fn AboutDialog(about: About) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let About { person, message } = about;
    let (id, name) = (person.id, person.nickname.to_string());
    let is_me = live.me.with_untracked(|me| me.id == id);
    let label = match (message, is_me) {
        (Some(_), true) => "About your message".to_owned(),
        (Some(_), false) => format!("About a message from {name}"),
        (None, _) => format!("About {name}"),
    };
    // The message may be removed while the dialog is open.
    let text = memo(move || {
        chat.timeline.with(|timeline| {
            let shown = timeline.event(message?)?.kind.message()?;
            Some(shown.body.to_string())
        })
    });
    let dialog = NodeRef::<Dialog>::new();
    // The message keeps its height when it is removed, so that the buttons below it do not move.
    let text_of_same_height = move || {
        let text = text.get();
        let paragraph = dialog.get_untracked().filter(|_| text.is_none());
        if let Some(paragraph) = paragraph.and_then(|dialog| dialog.query_selector(".about-said").ok()?)
            && let Ok(paragraph) = paragraph.dyn_into::<HtmlElement>()
        {
            let _ = paragraph.style().set_property("min-height", &format!("{}px", paragraph.offset_height()));
        }
        text.unwrap_or_default()
    };
    let composer = use_context::<ComposerField>();
    effect(move || {
        if let Some(dialog) = dialog.get() {
            // The server renders it open and not modal. A hydrated page shows it as a modal dialog.
            let _ = dialog.remove_attribute("open");
            let _ = dialog.show_modal();
        }
    });
    let close = move || {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    };
    let dismiss = move |event: MouseEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            close();
        }
    };
    // The close event is asynchronous. By then the same element may be open again, or another dialog may have replaced
    // it.
    let closed = move |event: Event| {
        let target = event.target().and_then(|target| target.dyn_into::<HtmlDialogElement>().ok());
        if target.is_some_and(|dialog| dialog.is_connected() && !dialog.open()) {
            chat.about.set(None);
        }
    };
    let done = Callback::new(move |()| {
        close();
        // The link that regains the focus may go along with its message, so the focus moves to the composer.
        let has_keyboard = live.transport().is_some_and(|transport| transport.has_keyboard());
        if message.is_some()
            && has_keyboard
            && let Some(field) = composer.and_then(|ComposerField(field)| field.get_untracked())
        {
            let _ = field.focus();
        }
    });
    let chat_id = chat.chat_id();
    let (is_owner, is_direct) = {
        let me = live.me.with_untracked(|me| me.id);
        chat.chat.with_untracked(|chat| (chat.owner == me, chat.guest.is_some()))
    };
    let problem = RwSignal::new(None::<Problem>);
    // On a live page, the menu of the message has it.
    let edit_link = message.filter(|_| is_me && !live.is_hydrated.get_untracked()).map(|message| {
        view! {
            <a class="quiet without-hydration" href=edit_address(chat_id, message)>
                "Edit message"
            </a>
        }
    });
    let remove_message_button = message.filter(|_| is_me || (is_owner && !is_direct)).map(|message| {
        let is_still_there = move || text.with(Option::is_some);
        // The buttons below keep their place.
        let removed = || {
            view! {
                <form>
                    <button type="button" class="quiet" aria-disabled="true">
                        "Message removed"
                    </button>
                </form>
            }
        };
        view! {
            <Show when=is_still_there fallback=removed>
                <ActionForm
                    action=RemoveMessage::PATH
                    fields=vec![("message", message.to_string())]
                    ask=ClientCommand::RemoveMessage {
                        chat: chat_id,
                        message,
                    }
                    problem
                    done
                    is_irreversible=true
                >
                    "Remove message"
                </ActionForm>
            </Show>
        }
    });
    let names = StoredValue::new(name.clone());
    let act_on_person = move |action, (kind, is): (&'static str, bool), ask, (before, after)| {
        view! {
            <ActionForm action fields=vec![("person", id.to_string()), (kind, is.to_string())] ask problem done>
                {before}
                <bdi translate="no">{names.get_value()}</bdi>
                {after}
            </ActionForm>
        }
    };
    let hide_button = (!is_me).then_some(move || {
        let is_hidden = !live.hidden.with(|hidden| hidden.contains(&id));
        let ask = ClientCommand::SetHidden { person: id, is_hidden };
        let label = if is_hidden { ("Hide ", "") } else { ("Show ", " again") };
        act_on_person(SetHidden::PATH, ("is_hidden", is_hidden), ask, label)
    });
    let remove_person_button = (!is_me && is_owner && !is_direct).then_some(move || {
        let is_removed = !chat.chat.with(|chat| chat.removed.contains(&id));
        let ask = ClientCommand::SetRemoved { chat: chat_id, person: id, is_removed };
        let label = if is_removed { ("Remove ", " from this chat") } else { ("Let ", " return") };
        act_on_person(SetRemoved::PATH, ("is_removed", is_removed), ask, label)
    });
    let remove_all_button = (!is_me && is_owner && !is_direct).then(|| {
        view! {
            <ActionForm
                action=RemovePerson::PATH
                fields=vec![("person", id.to_string())]
                ask=ClientCommand::RemovePerson {
                    chat: chat_id,
                    person: id,
                }
                problem
                done
                is_irreversible=true
            >
                "Remove "
                <bdi translate="no">{names.get_value()}</bdi>
                " and all their messages"
            </ActionForm>
        }
    });
    view! {
        <dialog class="about" aria-label=label open=!live.is_hydrated.get_untracked() node_ref=dialog on:close=closed>
            // It is anchored at its bottom: the buttons do not move when a problem is shown above them.
            <ProblemLine problem />
            <div class="about-who">
                <Avatar id nickname=person.nickname />
                <strong dir="auto" translate="no">
                    {name}
                </strong>
            </div>
            {message
                .map(|_| {
                    view! {
                        <p class="about-said soft" dir="auto">
                            {reactive_view(move || breakable(&text_of_same_height()))}
                        </p>
                    }
                })}
            {edit_link}
            {remove_message_button}
            {hide_button}
            {remove_person_button}
            {remove_all_button}
            <a
                class="quiet"
                role="button"
                data-focus-home=""
                href=format!("/chat/{chat_id}")
                on:click=dismiss
                on:keydown=press_by_space
            >
                "Close"
            </a>
        </dialog>
    }
    .into_any()
}

/// A button for a command: sent over the socket on a hydrated page, and an ordinary form otherwise.
#[component]
pub fn ActionForm(
    /// The path that the form is posted to.
    action: &'static str,
    /// The fields of the form besides the chat.
    fields: Vec<(&'static str, String)>,
    /// The command, for a hydrated page.
    ask: ClientCommand,
    /// Where a problem is shown.
    problem: RwSignal<Option<Problem>>,
    /// Called when the command has succeeded.
    done: Callback<()>,
    /// Whether it cannot be undone.
    #[prop(optional)]
    is_irreversible: bool,
    children: Children,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let submit = move |event: SubmitEvent| {
        if !live.is_hydrated.get_untracked() {
            return;
        }
        event.prevent_default();
        // The message, and this view with it, may be gone before the answer comes.
        live.ask(ask.clone(), move |outcome| match outcome {
            Ok(()) => drop(done.try_run(())),
            Err(why) => problem.set(Some(why)),
        });
    };
    let fields =
        fields.into_iter().map(|(name, value)| view! { <input type="hidden" name=name value=value /> });
    view! {
        <form method="post" action=action on:submit=submit>
            <input type="hidden" name="chat" value=chat.chat_id().to_string() />
            {fields.collect_view()}
            <button class="quiet" class:irreversible=is_irreversible on:click=press_once>
                {children()}
            </button>
        </form>
    }
    .into_any()
}
