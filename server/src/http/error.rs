//! Problems as HTTP statuses and JSON responses.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Problem, frame::ServerFrame};

use super::observe::Refused;

/// Returns the HTTP status of a problem.
const fn status(problem: Problem) -> u16 {
    match problem {
        Problem::NicknameEmpty
        | Problem::NicknameTooLong
        | Problem::NicknameNotPlain
        | Problem::TitleEmpty
        | Problem::TitleTooLong
        | Problem::TitleNotPlain
        | Problem::MessageEmpty
        | Problem::MessageTooLong
        | Problem::MessageNotPlain
        | Problem::FilterTooLong
        | Problem::SearchTooLong
        | Problem::NickWithoutName
        | Problem::MeWithoutWords
        | Problem::UnknownSlash
        | Problem::SlashHelp
        | Problem::OnlyOthers
        | Problem::NotAnEmoji
        | Problem::TooManyPictures
        | Problem::NotAPicture
        | Problem::PictureDamaged
        | Problem::AltTooLong
        | Problem::ChatWithOneself => 422,
        Problem::UnknownChat
        | Problem::ChatEnded
        | Problem::UserGone
        | Problem::InviteGone
        | Problem::ReplyGone
        | Problem::MessageGone => 404,
        Problem::ChatExists
        | Problem::ChatOfTwo
        | Problem::WrittenAsAnother
        | Problem::WaitedTooLong
        | Problem::TooLateToUndo
        | Problem::TooManyReactions
        | Problem::PictureExpired
        | Problem::PictureUsed => 409,
        Problem::NoSession | Problem::TwoSessions => 401,
        Problem::CrossOrigin
        | Problem::NotOwner
        | Problem::NotAdmitted
        | Problem::Removed
        | Problem::ChatLocked
        | Problem::NotAuthor
        | Problem::PicturesOff
        | Problem::InvitesNotTaken => 403,
        Problem::BadFrame
        | Problem::BinaryFrame
        | Problem::UnknownVersion
        | Problem::HelloFirst
        | Problem::BadForm => 400,
        Problem::FrameTooLarge | Problem::PictureTooLarge { .. } | Problem::PictureTooManyPixels => 413,
        Problem::TextOnly => 415,
        Problem::TooManyChats
        | Problem::TooManyPages
        | Problem::TooManyFilters
        | Problem::TooManyInvites
        | Problem::TooManyRemoved
        | Problem::TooManyHidden
        | Problem::ChatFull
        | Problem::TooManyOwn
        | Problem::TooManyWaiting
        | Problem::TooFast { .. } => 429,
        Problem::NotStored | Problem::NotReadable => 500,
        Problem::StorageFull => 507,
        Problem::Busy
        | Problem::Restarting
        | Problem::NotConnected
        | Problem::AnswerLost
        | Problem::NotYet => 503,
    }
}

/// Sets the status of a problem on a response, and `Retry-After` where it is known.
pub fn mark(problem: Problem, response: &mut Response) {
    *response.status_mut() =
        StatusCode::from_u16(status(problem)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.extensions_mut().insert(Refused(problem));
    if let Some(seconds) = problem.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}

/// Responds with a problem as JSON, as the frame `refused` of the protocol.
pub fn plain(problem: Problem) -> Response {
    let body = serde_json::to_string(&ServerFrame::refused(problem)).unwrap_or_default();
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    mark(problem, &mut response);
    response
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn every_problem_has_a_status_of_an_error() {
        for problem in Problem::iter() {
            let status = StatusCode::from_u16(status(problem)).unwrap();
            assert!(status.is_client_error() || status.is_server_error(), "{problem:?}");
        }
    }
}
