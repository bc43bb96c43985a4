//! What an offer must be before anything else reads it: small, with one track of each kind at most, and with H.264.

/// Longest offer. Browsers send 8 KiB.
pub const OFFER_LEN_MAX: usize = 64 << 10;
/// Lines of an offer, and the bytes of one.
const LINES_MAX: usize = 1_500;
const LINE_LEN_MAX: usize = 2_048;
/// Candidates that are tried; a laptop has some ten.
const CANDIDATES_MAX: usize = 64;

/// Why an offer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is longer than any real one.
    #[error("the offer has {len} bytes or more, the limit is {OFFER_LEN_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It is no SDP.
    #[error("the offer is malformed: {0}")]
    Malformed(String),
    /// It asks for something that this server does not take.
    #[error("the offer cannot be taken: {0}")]
    Unacceptable(&'static str),
}

/// A section of an offer.
struct Section<'a> {
    is_video: bool,
    lines: Vec<&'a str>,
}

/// Checks an offer without believing any of it.
///
/// # Errors
/// [`OfferError`]: what is wrong with it.
pub fn check(offer: &str) -> Result<(), OfferError> {
    if offer.len() > OFFER_LEN_MAX {
        return Err(OfferError::TooLong { len: offer.len() });
    }
    if offer.lines().count() > LINES_MAX || offer.lines().any(|line| line.len() > LINE_LEN_MAX) {
        return Err(OfferError::Malformed(format!(
            "it has more than {LINES_MAX} lines, or one of more than {LINE_LEN_MAX} bytes"
        )));
    }
    if !offer.starts_with("v=0") {
        return Err(OfferError::Malformed("it does not begin with v=0".to_owned()));
    }
    if offer.lines().filter(|line| line.starts_with("a=candidate:")).count() > CANDIDATES_MAX {
        return Err(OfferError::Malformed(format!("it has more than {CANDIDATES_MAX} candidates")));
    }
    check_sections(&sections(offer)?)?;
    // RFC 9725 §4.4.2: a client bundles all of its media.
    if !offer.lines().any(|line| line.starts_with("a=group:BUNDLE")) {
        return Err(OfferError::Unacceptable("its media is not bundled (a=group:BUNDLE)"));
    }
    Ok(())
}

fn sections(offer: &str) -> Result<Vec<Section<'_>>, OfferError> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in offer.lines() {
        match line.strip_prefix("m=") {
            Some(media) => {
                let is_video = match media.split(' ').next() {
                    Some("video") => true,
                    Some("audio") => false,
                    _ => {
                        return Err(OfferError::Unacceptable(
                            "only audio and video are taken; leave data channels out",
                        ));
                    }
                };
                sections.push(Section { is_video, lines: Vec::new() });
            }
            None => {
                if let Some(section) = sections.last_mut() {
                    section.lines.push(line);
                }
            }
        }
    }
    Ok(sections)
}

fn check_sections(sections: &[Section<'_>]) -> Result<(), OfferError> {
    let count = |video: bool| sections.iter().filter(|section| section.is_video == video).count();
    match (count(true), count(false)) {
        (0, 0) => return Err(OfferError::Malformed("it has no media".to_owned())),
        (2.., _) | (_, 2..) => {
            return Err(OfferError::Unacceptable("it has more than one video or more than one audio track"));
        }
        _ => {}
    }
    for section in sections {
        let has = |word: &str| section.lines.contains(&word);
        if has("a=recvonly") || has("a=inactive") {
            return Err(OfferError::Unacceptable("one of its tracks does not send (use sendonly)"));
        }
        if !has("a=rtcp-mux") {
            return Err(OfferError::Unacceptable("RTP and RTCP need one port (a=rtcp-mux)"));
        }
        match section.is_video {
            true if !offers(section, "H264/90000") => {
                return Err(OfferError::Unacceptable("its video has no H.264; let the encoder offer H.264"));
            }
            false if !offers(section, "opus/48000/2") => {
                return Err(OfferError::Unacceptable("its audio has no Opus; let the encoder offer Opus"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether one of its payload types is of this encoding (RFC 8866 §6.6: names do not depend on case).
fn offers(section: &Section<'_>, encoding: &str) -> bool {
    let encodings = section.lines.iter().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    encodings.into_iter().any(|(_, offered)| offered.trim().eq_ignore_ascii_case(encoding))
}
