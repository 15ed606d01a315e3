//! Drains an outbox into a message channel: the writing half of an exchange that the transport
//! frames by itself.

use std::io;
use std::task::{Context, Poll};

use super::drained::{Drained, Progress};
use crate::machine::action::DISCONNECT_CODE;
use crate::machine::outbox::Outbox;
use crate::transport::channel::ChannelSender;

/// The writing half of a message channel.
#[derive(Debug)]
pub(super) struct MessageWriter {
    outlet: ChannelSender,
}

impl MessageWriter {
    pub(super) fn new(outlet: ChannelSender) -> Self {
        Self { outlet }
    }

    /// Sends until the outbox is empty or the channel takes no more.
    pub(super) fn drain(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        mut watch: impl FnMut(Progress),
    ) -> io::Result<Drained> {
        let mut progress = false;
        while !outbox.is_empty() {
            match self.outlet.poll_ready(cx) {
                Poll::Pending => return Ok(Drained { progress, blocked: true }),
                Poll::Ready(ready) => ready?,
            }
            let Some((rank, tag, message)) = outbox.poll_message() else { break };
            progress = true;
            // A goodbye is of the whole connection here: the transport says it when it is closed.
            if message.code == DISCONNECT_CODE {
                continue;
            }
            if tag != 0 {
                watch(Progress { rank, tag, cut: true, written: true });
            }
            self.outlet.send(message);
        }
        Ok(Drained { progress, blocked: false })
    }
}
