//! Whatever is written is read back the same, however the bytes are cut, and no bytes at all bring a reader down.

mod wire_support;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use streams_relay_core::Malformed;
use streams_relay_core::wire::*;
use wire_support as any_of;

const PAYLOAD_LEN_MAX: usize = 4096;

/// Feeds `data` to a reader in pieces of the given sizes (cycled) and collects what comes out.
fn read_all<T>(
    data: &[u8],
    piece_lens: &[usize],
    mut push_and_drain: impl FnMut(&[u8], &mut Vec<T>) -> Result<(), Malformed>,
) -> (Vec<T>, Option<Malformed>) {
    let mut items = Vec::new();
    let mut rest = data;
    for &len in piece_lens.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(len.clamp(1, rest.len()));
        rest = later;
        if let Err(malformed) = push_and_drain(piece, &mut items) {
            return (items, Some(malformed));
        }
    }
    (items, None)
}

fn read_control(data: &[u8], piece_lens: &[usize]) -> (Vec<ControlMessage>, Option<Malformed>) {
    let mut reader = ControlReader::new(Draft::D18);
    read_all(data, piece_lens, |piece, items| {
        reader.push(piece);
        while let Some(message) = reader.next_message()? {
            items.push(message);
        }
        assert!(reader.buffered() <= MESSAGE_LEN_MAX);
        Ok(())
    })
}

fn read_subgroup(data: &[u8], piece_lens: &[usize]) -> (Vec<SubgroupItem>, Option<Malformed>) {
    let mut reader = SubgroupReader::new(Draft::D18, PAYLOAD_LEN_MAX);
    read_all(data, piece_lens, |piece, items| {
        reader.push(piece);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        assert!(reader.buffered() <= PAYLOAD_LEN_MAX + PROPERTIES_LEN_MAX + 64);
        Ok(())
    })
}

fn read_fetch(order: GroupOrder, data: &[u8], piece_lens: &[usize]) -> (Vec<FetchItem>, Option<Malformed>) {
    let mut reader = FetchReader::new(Draft::D18, PAYLOAD_LEN_MAX);
    reader.set_group_order(order);
    read_all(data, piece_lens, |piece, items| {
        reader.push(piece);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        assert!(reader.buffered() <= PAYLOAD_LEN_MAX + PROPERTIES_LEN_MAX + 64);
        Ok(())
    })
}

proptest! {
    // A failure prints its seed and the smallest case; nothing is written into the checkout.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_comes_back_in_its_shortest_form(value: u64) {
        let mut out = Vec::new();
        vi64::encode(value, &mut out);
        prop_assert_eq!(out.len(), vi64::len(value));
        prop_assert_eq!(vi64::decode(&out), Ok((value, out.len())));
    }

    #[test]
    fn every_control_message_comes_back_whatever_the_split(
        messages in vec(any_of::message(), 1..5),
        piece_lens in vec(1usize..40, 1..8),
    ) {
        let mut data = Vec::new();
        for message in &messages {
            message.encode(Draft::D18, &mut data).unwrap();
        }
        for lens in [&[1][..], &piece_lens, &[usize::MAX]] {
            let (read, malformed) = read_control(&data, lens);
            prop_assert_eq!(malformed, None);
            prop_assert_eq!(&read, &messages);
        }
    }

    #[test]
    fn every_subgroup_stream_comes_back_whatever_the_split(
        (header, objects) in any_of::subgroup(),
        piece_lens in vec(1usize..40, 1..8),
    ) {
        let data = any_of::encode_subgroup(&header, &objects);
        prop_assert_eq!(StreamKind::peek(&data), Ok(StreamKind::Subgroup));
        let mut expected = vec![SubgroupItem::Header(header)];
        expected.extend(objects.into_iter().map(SubgroupItem::Object));
        for lens in [&[1][..], &piece_lens, &[usize::MAX]] {
            let (read, malformed) = read_subgroup(&data, lens);
            prop_assert_eq!(malformed, None);
            prop_assert_eq!(&read, &expected);
        }
    }

    #[test]
    fn every_fetch_stream_comes_back_whatever_the_split(
        (order, items) in any_of::fetch_stream(),
        piece_lens in vec(1usize..40, 1..8),
    ) {
        let data = any_of::encode_fetch(order, &items);
        prop_assert_eq!(StreamKind::peek(&data), Ok(StreamKind::Fetch));
        for lens in [&[1][..], &piece_lens, &[usize::MAX]] {
            let (read, malformed) = read_fetch(order, &data, lens);
            prop_assert_eq!(malformed, None);
            prop_assert_eq!(&read, &items);
        }
    }

    #[test]
    fn every_datagram_comes_back(datagram in any_of::datagram()) {
        let mut data = Vec::new();
        datagram.encode(Draft::D18, &mut data);
        prop_assert_eq!(Datagram::decode(Draft::D18, &data.into()), Ok(Datagram::Object(datagram)));
    }

    #[test]
    fn no_bytes_bring_a_reader_down_and_no_split_changes_the_verdict(
        data in vec(any::<u8>(), 0..300),
        piece_lens in vec(1usize..40, 1..8),
    ) {
        prop_assert_eq!(read_control(&data, &piece_lens), read_control(&data, &[usize::MAX]));
        prop_assert_eq!(read_subgroup(&data, &piece_lens), read_subgroup(&data, &[usize::MAX]));
        let order = GroupOrder::Descending;
        prop_assert_eq!(read_fetch(order, &data, &piece_lens), read_fetch(order, &data, &[usize::MAX]));
        let _ = Datagram::decode(Draft::D18, &Bytes::from(data.clone()));
        let _ = StreamKind::peek(&data);
    }

    #[test]
    fn a_damaged_message_brings_no_reader_down(
        message in any_of::message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        piece_lens in vec(1usize..40, 1..8),
    ) {
        let mut data = Vec::new();
        message.encode(Draft::D18, &mut data).unwrap();
        for (at, byte) in damage {
            let at = at.index(data.len());
            data[at] = byte;
        }
        prop_assert_eq!(read_control(&data, &piece_lens), read_control(&data, &[usize::MAX]));
    }

    #[test]
    fn damaged_data_streams_bring_no_reader_down(
        (header, objects) in any_of::subgroup(),
        (order, items) in any_of::fetch_stream(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut subgroup = any_of::encode_subgroup(&header, &objects);
        let mut fetch = any_of::encode_fetch(order, &items);
        for (at, byte) in damage {
            let (in_subgroup, in_fetch) = (at.index(subgroup.len()), at.index(fetch.len()));
            subgroup[in_subgroup] = byte;
            fetch[in_fetch] = byte;
        }
        prop_assert_eq!(read_subgroup(&subgroup, &[1]), read_subgroup(&subgroup, &[usize::MAX]));
        prop_assert_eq!(read_fetch(order, &fetch, &[1]), read_fetch(order, &fetch, &[usize::MAX]));
    }
}

/// Draft-18 §1.4.1, the table of examples.
#[test]
fn the_drafts_own_numbers_decode() {
    let examples: &[(&[u8], u64)] = &[
        (&[0x25], 37),
        (&[0x80, 0x25], 37),
        (&[0xbb, 0xbd], 15_293),
        (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
        (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
        (&[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0], 151_288_809_941_952),
        (&[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11], 70_423_237_261_249_041),
        (&[0xff; 9], u64::MAX),
    ];
    for &(bytes, value) in examples {
        assert_eq!(vi64::decode(bytes), Ok((value, bytes.len())), "{value}");
        for short in 0..bytes.len() {
            assert_eq!(vi64::decode(&bytes[..short]), Err(streams_relay_core::DecodeError::NeedMore), "{value}");
        }
    }
}

#[test]
fn numbers_grow_by_a_byte_at_every_seventh_bit() {
    for len in 1..=8usize {
        let largest = (1u64 << (7 * len)) - 1;
        assert_eq!((vi64::len(largest), vi64::len(largest + 1)), (len, len + 1));
        let mut out = Vec::new();
        vi64::encode(largest, &mut out);
        assert_eq!(vi64::decode(&out), Ok((largest, len)));
    }
}
