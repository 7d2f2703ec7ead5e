//! Reads the JSON that the server writes. The browser parses the text, and [`Reader`] deserializes the resulting
//! values, so that neither a parser nor error messages have to be sent to the browser: a mismatch has no details. It
//! reads what serde writes for the types of the domain and nothing else; serde-wasm-bindgen, which reads everything,
//! would add 23 kB to the download.

use std::fmt::{self, Display};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error, Expected, IntoDeserializer, SeqAccess,
        Unexpected, VariantAccess, Visitor, value::U32Deserializer,
    },
    forward_to_deserialize_any,
};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::js_sys::{Array, Object, Reflect};

#[wasm_bindgen]
extern "C" {
    /// `JSON.parse` as in js-sys, but of a string that stays in the browser: copying it into WASM and back costs more
    /// than parsing it.
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = parse)]
    fn parse_text(text: &JsValue) -> Result<JsValue, JsValue>;
}

/// Parses a JSON text. Returns `None` if it is not valid or not of this type.
pub(crate) fn parse<T: DeserializeOwned>(text: &JsValue) -> Option<T> {
    T::deserialize(Reader(parse_text(text).ok()?)).ok()
}

/// A JSON value that was parsed by another library.
trait Json: Sized {
    /// Returns the value of a field of an object. `None` if there is no such field.
    fn field(&self, name: &str) -> Option<Self>;
    /// Returns the name and the value of the first field of an object. `None` if there is none.
    fn only_field(&self) -> Option<(String, Self)>;
    /// Returns the values of an array. `None` if it is not an array.
    fn items(&self) -> Option<impl ExactSizeIterator<Item = Self>>;
    /// Returns the value of a string. `None` if it is not a string.
    fn text(&self) -> Option<String>;
    /// Returns the value of a number. `None` if it is not a number.
    fn number(&self) -> Option<f64>;
    /// Returns the value of a boolean. `None` if it is not a boolean.
    fn truth(&self) -> Option<bool>;
    /// Whether it is `null`.
    fn is_null(&self) -> bool;
}

impl Json for JsValue {
    fn field(&self, name: &str) -> Option<Self> {
        Reflect::get(self, &name.into()).ok().filter(|value| !value.is_undefined())
    }

    fn only_field(&self) -> Option<(String, Self)> {
        let name = Object::keys(self.dyn_ref::<Object>()?).get(0).as_string()?;
        let value = self.field(&name)?;
        Some((name, value))
    }

    fn items(&self) -> Option<impl ExactSizeIterator<Item = Self>> {
        let array: &Array = self.dyn_ref()?;
        let array = array.clone();
        Some((0..array.length()).map(move |place| array.get(place)))
    }

    fn text(&self) -> Option<String> {
        self.as_string()
    }

    fn number(&self) -> Option<f64> {
        self.as_f64()
    }

    fn truth(&self) -> Option<bool> {
        self.as_bool()
    }

    fn is_null(&self) -> bool {
        Self::is_null(self)
    }
}

/// The error for a value that does not have the expected type.
#[derive(Debug)]
struct Mismatch;

impl Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value is not what it should be")
    }
}

impl std::error::Error for Mismatch {}

// Error messages are dropped: their text, and the code that formats numbers into them, would add to the download.
impl Error for Mismatch {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }
}

/// Deserializes a JSON value. Structs are read as the sequence of their fields in the order of declaration, independent
/// of their order in the object. Unknown fields are ignored.
struct Reader<J>(J);

impl<J: Json> Reader<J> {
    fn fields<'de, V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(Values(names.iter().map(|name| self.0.field(name))))
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let number = self.0.number().ok_or(Mismatch)?;
        let whole = number as u64;
        if whole as f64 == number { visitor.visit_u64(whole) } else { Err(Mismatch) }
    }

    fn items<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(Values(self.0.items().ok_or(Mismatch)?.map(Some)))
    }
}

impl<'de, J: Json> Deserializer<'de> for Reader<J> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_bool(self.0.truth().ok_or(Mismatch)?)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.number(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.number(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_string(self.0.text().ok_or(Mismatch)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.items(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.items(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.items(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.fields(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let (name, content) = match self.0.text() {
            Some(name) => (name, None),
            None => {
                let (name, content) = self.0.only_field().ok_or(Mismatch)?;
                (name, Some(content))
            }
        };
        let place = variants.iter().position(|variant| *variant == name).ok_or(Mismatch)?;
        visitor.visit_enum(Variant { place: place as u32, content })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 f32 f64 char bytes byte_buf unit unit_struct map identifier ignored_any
    }
}

/// A sequence of values that ends at a missing one.
struct Values<I>(I);

impl<'de, J: Json, I: Iterator<Item = Option<J>>> SeqAccess<'de> for Values<I> {
    type Error = Mismatch;

    // A missing field is reported as the end of the sequence, for which serde uses the default of the field if it has
    // one. Serde then asks again for the next field.
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        self.0.next().flatten().map(|value| seed.deserialize(Reader(value))).transpose()
    }
}

/// A variant of an enum, by its index.
struct Variant<J> {
    place: u32,
    /// The content of the variant. `None` for a unit variant.
    content: Option<J>,
}

impl<J: Json> Variant<J> {
    fn content(self) -> Result<Reader<J>, Mismatch> {
        self.content.map(Reader).ok_or(Mismatch)
    }
}

impl<'de, J: Json> EnumAccess<'de> for Variant<J> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Mismatch> {
        let place: U32Deserializer<Mismatch> = self.place.into_deserializer();
        Ok((seed.deserialize(place)?, self))
    }
}

impl<'de, J: Json> VariantAccess<'de> for Variant<J> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        if self.content.is_none() { Ok(()) } else { Err(Mismatch) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.content()?.items(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.content()?.fields(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use domain::{frame::ServerFrame, page::Page, place::Answering, timeline::Pending};
    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;

    impl Json for Value {
        fn field(&self, name: &str) -> Option<Self> {
            self.get(name).cloned()
        }

        fn only_field(&self) -> Option<(String, Self)> {
            let (name, value) = self.as_object()?.iter().next()?;
            Some((name.clone(), value.clone()))
        }

        fn items(&self) -> Option<impl ExactSizeIterator<Item = Self>> {
            Some(self.as_array()?.clone().into_iter())
        }

        fn text(&self) -> Option<String> {
            self.as_str().map(str::to_owned)
        }

        fn number(&self) -> Option<f64> {
            self.as_f64()
        }

        fn truth(&self) -> Option<bool> {
            self.as_bool()
        }

        fn is_null(&self) -> bool {
            Value::is_null(self)
        }
    }

    fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
        T::deserialize(Reader(value)).ok()
    }

    /// Checks that a value is read as by serde_json.
    fn reads_as_serde_json<T: DeserializeOwned + Serialize>(value: Value) {
        let ours: T = read(value.clone()).unwrap_or_else(|| panic!("not read: {value}"));
        let theirs: T = serde_json::from_value(value).unwrap();
        assert_eq!(serde_json::to_value(ours).unwrap(), serde_json::to_value(theirs).unwrap());
    }

    fn user() -> Value {
        json!({ "id": "0123456789abcdef", "nickname": "Ana" })
    }

    fn events() -> Value {
        let event = |seq: u64, kind: Value| json!({ "chat": "0123456789abcdef", "seq": seq, "prev": seq - 1, "at": 1_700_000_000_000_u64, "what": kind });
        json!([
            event(
                1,
                json!({ "started": { "owner": "0123456789abcdef", "nickname": "Ana", "title": "Tea",
                "visibility": "public", "guest": null } })
            ),
            event(
                2,
                json!({ "started": { "owner": "0123456789abcdef", "nickname": "Ana", "title": "Tea",
                "visibility": "private", "guest": user() } })
            ),
            event(
                3,
                json!({ "posted": { "author": "0123456789abcdef", "nickname": "Ana",
                "client_id": "000000000000000z", "body": "\"é\"\n👋" } })
            ),
            event(4, json!({ "renamed": { "user": "0123456789abcdef", "from": "Ana", "to": "Bea" } })),
            event(5, json!({ "message_removed": { "message": 3, "by": "owner" } })),
            event(6, json!({ "invite_answered": { "by": user(), "answer": "decline" } })),
            event(
                7,
                json!({ "posted": { "author": "0123456789abcdef", "nickname": "Ana",
                "client_id": "000000000000000z", "body": "**a**", "marks": [["strong", 0, 5], ["hidden", 0, 2]],
                "mentions": ["0123456789abcdef"], "reply_to": 3, "reply_author": "0123456789abcdef",
                "pictures": [{ "id": "0123456789abcdef", "width": 2_048, "height": 1_536, "small": [480, 360],
                    "bytes": 300_000, "alt": "" }], "action": true, "edited_at": 1_700_000_000_000_u64,
                "quote": { "author": "0123456789abcdef", "nickname": "Ana", "line": "é", "at": 1 } } })
            ),
            event(
                8,
                json!({ "message_edited": { "message": 7, "wording": { "body": "a", "marks": [], "mentions": [] } } })
            ),
            event(9, json!({ "message_edited": { "message": 7, "wording": null } })),
            event(
                10,
                json!({ "message_restored": { "message": 7, "said": { "author": "0123456789abcdef",
                "nickname": "Ana", "client_id": "000000000000000z", "body": "a" } } })
            ),
            event(11, json!({ "lock_set": { "nickname": "Ana", "is_locked": true } })),
        ])
    }

    fn reactions() -> Value {
        json!([{ "message": 7, "changed": 12, "of": [
            { "emoji": "👍", "count": 2, "people": [user()], "mine": true },
            { "emoji": "❤️", "count": 1 }] },
            { "message": 3, "changed": 13, "of": [] }])
    }

    fn chat() -> Value {
        json!({ "id": "0123456789abcdef", "title": "Tea", "owner": "0123456789abcdef", "visibility": "public",
            "started_at": 1, "seq": 7, "said_at": null, "guest": null, "is_locked": false,
            "removed": ["000000000000000z"] })
    }

    #[test]
    fn frames_are_read_as_they_are_written() {
        let history = json!({ "epoch": "0123456789abcdef", "seq": 7, "events": events(), "earlier": true });
        let listing = json!({ "id": "0123456789abcdef", "title": "Tea", "started_at": 1, "said_at": 2, "members": 1,
            "faces": [user()] });
        let counts = json!({ "people": 2, "chats": 1 });
        let typing = json!({ "id": "0123456789abcdef", "nickname": "Ana", "typing": true });
        for frame in [
            json!({ "snapshot": { "chat": chat(), "history": history } }),
            json!({ "resumed": { "chat": "0123456789abcdef", "seq": 9_007_199_254_740_991_u64 } }),
            json!({ "invites": [{ "chat": "0123456789abcdef", "from": user() }] }),
            json!({ "hidden": ["0123456789abcdef"] }),
            json!({ "lobby": { "version": 1, "counts": counts, "matching": 1, "listings": [listing] } }),
            json!({ "lobby_change": { "version": 2, "counts": counts, "matching": 0, "listed": [],
                "gone": ["0123456789abcdef"] } }),
            // The `typing` field is absent if it is false.
            json!({ "roster": { "chat": "0123456789abcdef",
                "roster": { "version": 1, "count": 2, "members": [user(), typing] } } }),
            json!({ "roster_change": { "chat": "0123456789abcdef",
                "change": { "version": 2, "count": 1, "present": [], "gone": ["0123456789abcdef"] } } }),
            json!({ "reactions": { "chat": "0123456789abcdef", "reacted": 13, "changes": reactions() } }),
            json!({ "later": { "chat": "0123456789abcdef", "after": 0, "events": events(), "reactions": reactions() } }),
            json!({ "later": { "chat": "0123456789abcdef", "after": 0, "events": [] } }),
            json!({ "around": { "chat": "0123456789abcdef", "at": 5, "shown": 4, "events": events(), "earlier": true,
                "later": false } }),
            json!({ "around": { "chat": "0123456789abcdef", "since": 1_700_000_000_000_u64, "events": events(),
                "earlier": false, "later": false, "reactions": reactions() } }),
            json!({ "news": { "chat": "0123456789abcdef", "after": 5, "through": 9, "messages": 3, "more": true,
                "mentions": [7] } }),
            json!({ "done": { "request": 7, "seq": 8 } }),
            json!({ "refused": { "code": "message_empty", "message": "in words" } }),
            json!({ "refused": { "request": 7, "code": "too_fast", "message": "in words", "retry_after": 3 } }),
            json!({ "refused": { "chat": "0123456789abcdef", "code": "unknown_chat", "message": "in words" } }),
            json!({ "beat": [{ "chat": "0123456789abcdef", "seq": 8 }] }),
            json!({ "beat": [] }),
        ] {
            reads_as_serde_json::<ServerFrame>(frame);
        }
    }

    #[test]
    fn pages_and_what_is_kept_are_read_as_they_are_written() {
        let span = json!(60_000);
        let visit = json!({ "me": user(), "now": 1, "counts": { "people": 2, "chats": 1 },
            "invites": [{ "chat": "0123456789abcdef", "from": user() }], "hidden": ["0123456789abcdef"],
            "takes_invites": false,
            "lifetimes": { "chat": span, "user": span, "message": span } });
        let lobby =
            json!({ "version": 1, "counts": { "people": 2, "chats": 1 }, "matching": 0, "listings": [] });
        let history = json!({ "epoch": "0123456789abcdef", "seq": 7, "events": events(), "earlier": false,
            "reactions": reactions(), "reacted": 13 });
        let quote = json!({ "author": "0123456789abcdef", "nickname": "Ana", "line": "é", "at": 1 });
        let answering = json!({ "message": 7, "quote": quote });
        for page in [
            json!({ "Home": { "visit": visit, "wanted": { "filter": "tea", "limit": 50 }, "lobby": lobby } }),
            json!({ "Chat": { "visit": visit, "chat": chat(), "later": true, "history": history,
                "takes_pictures": true, "roster": { "version": 1, "count": 1, "members": [user()] },
                "about": { "person": user(), "message": 3 } } }),
            json!({ "Chat": { "visit": visit, "chat": chat(), "later": true, "history": history,
                "takes_pictures": true, "roster": { "version": 1, "count": 1, "members": [user()] },
                "about": null, "place": 7, "answering": answering, "notice": "message_gone" } }),
        ] {
            reads_as_serde_json::<Page>(page);
        }
        reads_as_serde_json::<Answering>(answering);
        let waits = json!({ "client_id": "000000000000000z", "body": "hi", "at": 1, "problem": null });
        let answers = json!({ "client_id": "000000000000000z", "body": "hi", "at": 1, "author": null,
            "problem": "reply_gone", "reply_to": 3, "mentions": ["0123456789abcdef"],
            "pictures": [{ "ticket": "AQ", "alt": "A cat" }], "is_action": true });
        reads_as_serde_json::<Vec<Pending>>(json!([waits, answers]));
    }

    #[test]
    fn what_a_later_server_adds_is_not_looked_at() {
        let done = json!({ "done": { "seq": 8, "new": [1, { "a": null }], "request": 7 } });
        assert!(matches!(read(done), Some(ServerFrame::Done { request: 7, .. })));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for frame in [
            json!({ "done": { "request": 7 } }),
            json!({ "done": { "request": -7, "seq": 8 } }),
            json!({ "done": { "request": 7.5, "seq": 8 } }),
            json!({ "done": { "request": "7", "seq": 8 } }),
            json!({ "done": null }),
            json!({ "hidden": { "0": "0123456789abcdef" } }),
            json!({ "hidden": ["too short"] }),
            json!({ "unheard_of": {} }),
            json!({ "refused": { "code": "unheard_of", "message": "" } }),
            json!("done"),
            json!({}),
            json!(7),
            json!(null),
        ] {
            assert_eq!(read::<ServerFrame>(frame.clone()), None, "{frame}");
        }
    }
}
