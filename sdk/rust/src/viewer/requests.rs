//! Bidirectional streams: our subscriptions and fetches, and what the server asks of us.

use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use streams_relay_core::Malformed;
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Fetch, FetchRange, FullTrackName, Namespace, Parameters, RequestError,
    RequestErrorCode, RequestOk, Subscribe, SubscriptionFilter,
};

use super::{Join, Shared, TrackId, ViewerEvent};
use crate::PlayError;

/// Most bytes taken from QUIC at once; answers are small.
const READ_LEN_MAX: usize = 16 * 1024;

/// A request stream: whole messages in, whole messages out.
struct RequestStream<'a> {
    shared: &'a Shared,
    send: SendStream,
    receive: RecvStream,
    reader: ControlReader,
}

/// Why a request stream gives no more messages.
enum Ended {
    /// Finished or reset by the server, or the session is over.
    Closed,
    /// The server broke the protocol.
    Malformed(Malformed),
}

impl From<Malformed> for Ended {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<'a> RequestStream<'a> {
    fn new(shared: &'a Shared, (send, receive): (SendStream, RecvStream)) -> Self {
        Self { shared, send, receive, reader: ControlReader::new(shared.draft) }
    }

    async fn open(shared: &'a Shared, request: &ControlMessage) -> Result<Self, PlayError> {
        let streams = shared.connection.open_bi().await.map_err(PlayError::failed)?;
        let mut stream = Self::new(shared, streams);
        stream.send(request).await?;
        Ok(stream)
    }

    async fn send(&mut self, message: &ControlMessage) -> Result<(), PlayError> {
        let bytes = self.shared.encode(message)?;
        self.send.write_all(&bytes).await.map_err(PlayError::failed)
    }

    async fn next(&mut self) -> Result<ControlMessage, Ended> {
        loop {
            if let Some(message) = self.reader.next_message()? {
                return Ok(message);
            }
            match self.receive.read_chunk(READ_LEN_MAX, true).await {
                Ok(Some(chunk)) => self.reader.push(&chunk.bytes),
                Ok(None) => {
                    self.reader.finish()?;
                    return Err(Ended::Closed);
                }
                Err(_) => return Err(Ended::Closed),
            }
        }
    }
}

fn unexpected(what: &'static str) -> Ended {
    Ended::Malformed(Malformed::violation(what, "no answer to this request"))
}

/// Lives as long as the subscription.
pub(super) async fn subscribe(shared: Arc<Shared>, id: TrackId, track: FullTrackName, join: Join) {
    match run_subscription(&shared, id, track, join).await {
        Ok(()) => {}
        Err(Ended::Closed) => {
            let reason = "the server ended the subscription".to_owned();
            shared.tell(ViewerEvent::TrackEnded { track: id, code: None, reason }).await;
        }
        Err(Ended::Malformed(malformed)) => shared.violation(malformed),
    }
}

async fn run_subscription(shared: &Arc<Shared>, id: TrackId, track: FullTrackName, join: Join) -> Result<(), Ended> {
    let request_id = shared.request_id();
    // Joining needs the place where live begins to be the one after the largest object, which this filter says.
    let parameters = Parameters { filter: Some(SubscriptionFilter::LargestObject), ..Parameters::default() };
    let request = ControlMessage::Subscribe(Subscribe { request_id, track, parameters });
    let mut stream = RequestStream::open(shared, &request).await.map_err(|_| Ended::Closed)?;
    match stream.next().await? {
        ControlMessage::SubscribeOk(ok) => {
            let largest = ok.parameters.largest_object;
            shared.aliases.send_modify(|aliases| {
                aliases.insert(ok.track_alias, id);
            });
            shared.tell(ViewerEvent::Subscribed { track: id, largest }).await;
            if join == Join::CurrentGroup && largest.is_some() {
                tokio::spawn(fetch_joining(Arc::clone(shared), id, request_id));
            }
        }
        ControlMessage::RequestError(RequestError { code, reason, .. }) => {
            shared.tell(ViewerEvent::Refused { track: id, code, reason }).await;
            return Ok(());
        }
        _ => return Err(unexpected("SUBSCRIBE")),
    }
    loop {
        match stream.next().await? {
            ControlMessage::PublishDone(done) => {
                let code = Some(done.code);
                shared.tell(ViewerEvent::TrackEnded { track: id, code, reason: done.reason }).await;
                return Ok(());
            }
            ControlMessage::Goaway(_) => shared.tell(ViewerEvent::Goaway).await,
            // The server may tell new parameters of its own (REQUEST_UPDATE is a publisher's too); none of them matters to us.
            ControlMessage::RequestUpdate(_) => {
                let accepted = ControlMessage::RequestOk(RequestOk::default());
                stream.send(&accepted).await.map_err(|_| Ended::Closed)?;
            }
            _ => return Err(unexpected("SUBSCRIBE")),
        }
    }
}

/// Fetches the current group up to the place where the subscription began. A refusal only means to begin with the next group.
async fn fetch_joining(shared: Arc<Shared>, id: TrackId, joining_request_id: u64) {
    let request_id = shared.request_id();
    shared.fetches.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(request_id, id);
    let range = FetchRange::RelativeJoining { joining_request_id, groups_back: 0 };
    let request = ControlMessage::Fetch(Fetch { request_id, range, parameters: Parameters::default() });
    let Ok(mut stream) = RequestStream::open(&shared, &request).await else { return };
    match stream.next().await {
        // The objects come on a stream of their own. The request's stream stays open until the server ends it, for ending it
        // from here cancels the fetch.
        Ok(ControlMessage::FetchOk(_)) => {
            if let Err(Ended::Malformed(malformed)) = stream.next().await {
                shared.violation(malformed);
            }
        }
        Ok(ControlMessage::RequestError(RequestError { code, reason, .. })) => {
            tracing::debug!(%code, reason, "joining fetch refused: beginning with the next group");
        }
        Ok(_) => shared.violation(Malformed::violation("FETCH", "no answer to this request")),
        Err(Ended::Closed) => {}
        Err(Ended::Malformed(malformed)) => shared.violation(malformed),
    }
}

/// Answers every request of the server.
pub(super) async fn accept(shared: Arc<Shared>) {
    while let Ok(streams) = shared.connection.accept_bi().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(Ended::Malformed(malformed)) = answer(&shared, streams).await {
                shared.violation(malformed);
            }
        });
    }
}

async fn answer(shared: &Shared, streams: (SendStream, RecvStream)) -> Result<(), Ended> {
    let mut stream = RequestStream::new(shared, streams);
    let request = stream.next().await?;
    if let ControlMessage::PublishNamespace(offer) = request {
        let accepted = ControlMessage::RequestOk(RequestOk::default());
        stream.send(&accepted).await.map_err(|_| Ended::Closed)?;
        return watch_namespace(shared, stream, offer.namespace).await;
    }
    if !request.opens_request() {
        return Err(unexpected("request stream"));
    }
    let refusal = ControlMessage::RequestError(RequestError {
        code: RequestErrorCode::NotSupported,
        retry_after_ms: None,
        reason: "this client only watches".to_owned(),
        redirect: None,
    });
    stream.send(&refusal).await.map_err(|_| Ended::Closed)?;
    let _ = stream.send.finish();
    Ok(())
}

/// The offer stands until its stream ends.
async fn watch_namespace(shared: &Shared, mut stream: RequestStream<'_>, namespace: Namespace) -> Result<(), Ended> {
    shared.tell(ViewerEvent::Namespace(namespace.clone())).await;
    loop {
        match stream.next().await {
            Ok(ControlMessage::RequestUpdate(_)) => {
                let accepted = ControlMessage::RequestOk(RequestOk::default());
                stream.send(&accepted).await.map_err(|_| Ended::Closed)?;
            }
            Ok(ControlMessage::Goaway(_)) => shared.tell(ViewerEvent::Goaway).await,
            Ok(_) => return Err(unexpected("PUBLISH_NAMESPACE")),
            Err(Ended::Closed) => {
                shared.tell(ViewerEvent::NamespaceGone(namespace)).await;
                return Ok(());
            }
            Err(malformed) => return Err(malformed),
        }
    }
}
