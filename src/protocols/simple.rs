//! A protocol with one kind of question: implement [`Protocol`], register it, ask.
//!
//! [`Service`] turns it into an [`Exchange`] over eth-stream segments. A message is
//! `kind u8 | request id uvarint | payload`, with kind 1 for questions and 2 for answers. A question
//! that cannot be served is not answered.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::BoxFuture;

use super::{Capability, Class, Exchange, From, Payload, Request, ServeError};
use crate::disconnect::Breach;
use crate::ids::{PeerId, ProtocolId};
use crate::wire::{Decode, DecodeError, Encode, decode_all, varint};

const QUESTION: u8 = 1;
const ANSWER: u8 = 2;

/// A protocol with one kind of question and one kind of answer.
pub trait Protocol: Send + Sync + Sized + 'static {
    /// Its id, such as `/uptime/1`. Must be made by [`ProtocolId::new`].
    const ID: ProtocolId;
    /// How it is spelled over RLPx; questions have code 1 and answers code 2, so that it takes 3
    /// messages. Default: it is not spoken there.
    const CAPABILITY: Option<Capability> = None;
    /// What is asked.
    type Request: Encode + Decode + Send + 'static;
    /// What is answered.
    type Response: Encode + Decode + Send + 'static;

    /// Answers a question of a peer. The future is dropped when the session ends; at most four of
    /// them run at once for a peer. An error leaves the question unanswered.
    fn serve(
        &self,
        from: PeerId,
        question: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, ServeError>> + Send;
}

/// A [`Protocol`] as an [`Exchange`].
pub struct Service<P> {
    protocol: Arc<P>,
    ids: [(ProtocolId, u32); 1],
}

impl<P: Protocol> Service<P> {
    /// Serves `protocol`.
    pub fn new(protocol: P) -> Self {
        Self { protocol: Arc::new(protocol), ids: [(P::ID, 1)] }
    }
}

impl<P: Protocol> Exchange for Service<P> {
    fn name(&self) -> &'static str {
        name::<P>()
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        &self.ids
    }

    fn capability(&self, _: u32) -> Option<Capability> {
        P::CAPABILITY
    }

    fn message_name(&self, code: u8) -> Option<&'static str> {
        match code {
            QUESTION => Some(std::any::type_name::<P::Request>()),
            ANSWER => Some(std::any::type_name::<P::Response>()),
            _ => None,
        }
    }

    fn classify(&self, _: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        let (id, _) = varint::decode(prefix).ok().flatten().ok_or(Breach::Malformed)?;
        match code {
            QUESTION => Ok(Class::Request(id)),
            ANSWER => Ok(Class::Answer(id)),
            _ => Err(Breach::UnknownCode),
        }
    }

    fn serve(
        self: Arc<Self>,
        from: From,
        request: Payload,
    ) -> BoxFuture<'static, Result<Payload, ServeError>> {
        let protocol = Arc::clone(&self.protocol);
        Box::pin(async move {
            let mut body = request.body;
            let id = take_id(&mut body)?;
            let question = decode_all(body)?;
            let answer = protocol.serve(from.peer, question).await?;
            Ok(Payload { code: ANSWER, body: with_id(id, &answer) })
        })
    }
}

/// A question to the protocol `P`.
pub struct Ask<P: Protocol>(pub P::Request);

impl<P: Protocol> Request for Ask<P> {
    type Response = P::Response;
    const CODE: u8 = QUESTION;
    const ANSWER: u8 = ANSWER;

    fn exchange() -> &'static str {
        name::<P>()
    }

    fn encode(&self, _: u32, id: u64) -> Bytes {
        with_id(id, &self.0)
    }

    fn decode_answer(&self, _: u32, mut body: Bytes) -> Result<P::Response, DecodeError> {
        take_id(&mut body)?;
        decode_all(body)
    }
}

fn name<P: Protocol>() -> &'static str {
    let name = P::ID.as_static();
    debug_assert!(name.is_some(), "Protocol::ID is made by ProtocolId::new");
    name.unwrap_or_default()
}

fn with_id(id: u64, value: &impl Encode) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    varint::encode(id, &mut out);
    value.encode(&mut out);
    out.freeze()
}

fn take_id(body: &mut Bytes) -> Result<u64, DecodeError> {
    let (id, len) = varint::decode(body)?.ok_or(DecodeError::Truncated)?;
    body.advance(len);
    Ok(id)
}
