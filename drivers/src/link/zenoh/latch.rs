//! Latched topics: late subscribers get the last value, as from ROS 2's *transient local* publishers.
//!
//! The protocol is that of zenoh-ext's `AdvancedPublisher` and `AdvancedSubscriber`, which `rmw_zenoh` uses.
//! A publisher on `KEY` shows itself by a token under `KEY/@adv/pub/SESSION/uhlc/NUMBER` and answers queries
//! there with its last payload, whose key is `KEY`. A subscription asks those who show themselves, so that it
//! does not matter who came first or when the network did. A payload that comes both ways is known by its
//! sequence number to ours, and to an `AdvancedSubscriber` by its time stamp: `uhlc` says that it is to be
//! told by that, and so stamps must rise, whatever the clock does.

use std::sync::{Arc, Mutex};

use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable, ReplyKeyExpr};
use zenoh::sample::SampleKind;
use zenoh::time::{NTP64, Timestamp};
use zenoh::{Session, Wait};

use super::{pass_on, words};
use crate::attachment::ATTACHMENT_BYTES;
use crate::link::{Sink, lock};

/// What a publisher said last.
struct Kept {
    payload: Vec<u8>,
    attachment: [u8; ATTACHMENT_BYTES],
    stamp: Timestamp,
}

/// A latched publisher's last payload, and what makes it known.
pub(super) struct Latch {
    kept: Arc<Mutex<Option<Kept>>>,
    /// Before the queryable: nobody shall be asked who cannot answer.
    _token: LivelinessToken,
    _queryable: Queryable<()>,
}

/// The key of the publisher `number` of `session` on `key`: the last part makes it one publisher's own.
fn publisher_key(key: &str, session: &str, number: u64) -> String {
    format!("{key}/@adv/pub/{session}/uhlc/{number}")
}

impl Latch {
    pub(super) fn new(session: &Session, key: &KeyExpr<'static>, number: u64) -> Result<Self, String> {
        let kept = Arc::<Mutex<Option<Kept>>>::default();
        let (answer, reply_key) = (Arc::clone(&kept), key.clone());
        let own_key = publisher_key(key, &session.zid().to_string(), number);
        let queryable = session
            .declare_queryable(own_key.clone())
            .callback(move |query| {
                let kept = lock(&answer);
                if let Some(Kept { payload, attachment, stamp }) = &*kept {
                    let (payload, attachment, stamp) = (payload.clone(), *attachment, *stamp);
                    drop(kept);
                    let reply = query.reply(reply_key.clone(), payload);
                    // A reply that cannot be sent has lost its asker.
                    let _gone = reply.attachment(&attachment[..]).timestamp(stamp).wait();
                }
            })
            .wait()
            .map_err(words)?;
        // After the queryable: whoever sees the token may ask at once.
        let token = session.liveliness().declare_token(own_key).wait().map_err(words)?;
        Ok(Self { kept, _token: token, _queryable: queryable })
    }

    /// Keeps a payload; returns the stamp that it is to be sent with, later than the one before.
    pub(super) fn keep(
        &self,
        session_now: Timestamp,
        payload: &[u8],
        attachment: &[u8; ATTACHMENT_BYTES],
    ) -> Timestamp {
        let mut kept = lock(&self.kept);
        let stamp = match &*kept {
            Some(kept) if session_now.get_time() <= kept.stamp.get_time() => {
                Timestamp::new(NTP64(kept.stamp.get_time().as_u64() + 1), *session_now.get_id())
            }
            _ => session_now,
        };
        *kept = Some(Kept { payload: payload.to_vec(), attachment: *attachment, stamp });
        stamp
    }
}

/// Asks every latched publisher on `key` that shows itself, now or later, for its last payload.
pub(super) fn ask_for_latched(
    session: &Session,
    key: &KeyExpr<'static>,
    sink: Arc<dyn Sink>,
) -> Result<Subscriber<()>, String> {
    let publishers = format!("{key}/@adv/pub/**");
    let querier = session
        .declare_querier(publishers.clone())
        .target(QueryTarget::All)
        .consolidation(ConsolidationMode::None)
        .accept_replies(ReplyKeyExpr::Any)
        .wait()
        .map_err(words)?;
    let key = key.clone();
    session
        .liveliness()
        .declare_subscriber(publishers)
        .history(true)
        .callback(move |token| {
            if token.kind() == SampleKind::Put {
                let (sink, key) = (Arc::clone(&sink), key.clone());
                // The session refuses only when it is closing, and then nobody waits for the value.
                let _closing = querier
                    .get()
                    .callback(move |reply| {
                        if let Ok(sample) = reply.result()
                            && *sample.key_expr() == key
                        {
                            pass_on(sample, &*sink);
                        }
                    })
                    .wait();
            }
        })
        .wait()
        .map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_of_zenoh_ext() {
        assert_eq!(publisher_key("0/a/T/H", "abc", 4), "0/a/T/H/@adv/pub/abc/uhlc/4");
    }
}
