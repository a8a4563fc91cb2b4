//! The servo's end of Dynamixel's protocols 1 (which Feetech speaks, too) and 2, for the simulator: instructions in,
//! status packets out. The host's end is rustypot's; no code is shared, so each checks the other.
//!
//! Sources: Robotis e-Manual, "DYNAMIXEL Protocol 1.0" and "Protocol 2.0"; Feetech, "Communication Protocol Manual".

/// What the host wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    Ping(u8),
    Read { id: u8, first: u16, bytes: u16 },
    Write { id: u8, first: u16, data: Vec<u8> },
    SyncRead { ids: Vec<u8>, first: u16, bytes: u16 },
    SyncWrite { first: u16, each: Vec<(u8, Vec<u8>)> },
}

/// Longer packets are noise.
const PACKET_MAX: usize = 1024;

/// Takes the first whole instruction out of `inbox`, and whatever before it is none.
pub(super) fn take(protocol: u8, inbox: &mut Vec<u8>) -> Option<Instruction> {
    loop {
        let header: &[u8] = if protocol == 1 { &[0xff, 0xff] } else { &[0xff, 0xff, 0xfd, 0x00] };
        let Some(start) = inbox.windows(header.len()).position(|window| window == header) else {
            // The header's beginning may be at the end.
            let keep = inbox.len().min(header.len() - 1);
            inbox.drain(..inbox.len() - keep);
            return None;
        };
        inbox.drain(..start);
        let total = if protocol == 1 {
            4 + usize::from(*inbox.get(3)?)
        } else {
            7 + usize::from(u16::from_le_bytes([*inbox.get(5)?, *inbox.get(6)?]))
        };
        if total <= PACKET_MAX && inbox.len() < total {
            return None;
        }
        let parsed = (total <= PACKET_MAX).then(|| parse(protocol, &inbox[..total])).flatten();
        if parsed.is_some() {
            inbox.drain(..total);
            return parsed;
        }
        inbox.drain(..1);
    }
}

fn parse(protocol: u8, packet: &[u8]) -> Option<Instruction> {
    let (id, instruction, body) = if protocol == 1 {
        let (sum, rest) = packet.split_last()?;
        if checksum(rest.get(2..)?) != *sum {
            return None;
        }
        (*rest.get(2)?, *rest.get(4)?, rest.get(5..)?.to_vec())
    } else {
        let (rest, crc) = packet.split_at_checked(packet.len().checked_sub(2)?)?;
        if crc16(rest).to_le_bytes() != *crc {
            return None;
        }
        (*rest.get(4)?, *rest.get(7)?, unstuffed(rest.get(8..)?))
    };
    let wide = protocol != 1;
    let mut at = 0;
    let mut number = |body: &[u8]| -> Option<u16> {
        let value = if wide {
            u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?])
        } else {
            u16::from(*body.get(at)?)
        };
        at += if wide { 2 } else { 1 };
        Some(value)
    };
    Some(match instruction {
        0x01 => Instruction::Ping(id),
        0x02 => Instruction::Read { id, first: number(&body)?, bytes: number(&body)? },
        0x03 => {
            let first = number(&body)?;
            Instruction::Write { id, first, data: body.get(at..)?.to_vec() }
        }
        0x82 => {
            let (first, bytes) = (number(&body)?, number(&body)?);
            Instruction::SyncRead { first, bytes, ids: body.get(at..)?.to_vec() }
        }
        0x83 => {
            let (first, bytes) = (number(&body)?, usize::from(number(&body)?));
            let each =
                body.get(at..)?.chunks_exact(bytes + 1).map(|one| (one[0], one[1..].to_vec())).collect();
            Instruction::SyncWrite { first, each }
        }
        _ => return None,
    })
}

/// A status packet.
pub(super) fn status(protocol: u8, id: u8, alarms: u8, data: &[u8]) -> Vec<u8> {
    if protocol == 1 {
        let mut packet = vec![0xff, 0xff, id, data.len() as u8 + 2, alarms];
        packet.extend_from_slice(data);
        packet.push(checksum(&packet[2..]));
        packet
    } else {
        let mut body = vec![alarms];
        body.extend_from_slice(data);
        let body = stuffed(&body);
        let [low, high] = (body.len() as u16 + 3).to_le_bytes();
        let mut packet = vec![0xff, 0xff, 0xfd, 0x00, id, low, high, 0x55];
        packet.extend_from_slice(&body);
        packet.extend_from_slice(&crc16(&packet).to_le_bytes());
        packet
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    !bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
}

/// CRC-16 with polynomial 0x8005, from 0, high bit first.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x8005 } else { crc << 1 }
            },
        )
    })
}

/// 0xfd after each ff ff fd, so that no header appears within.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        out.push(*byte);
        if out.ends_with(&[0xff, 0xff, 0xfd]) {
            out.push(0xfd);
        }
    }
    out
}

fn unstuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut skip = false;
    for byte in bytes {
        if std::mem::take(&mut skip) && *byte == 0xfd {
            continue;
        }
        out.push(*byte);
        skip = out.ends_with(&[0xff, 0xff, 0xfd]);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_those_of_the_manuals() {
        // Protocol 1, example of "Read": id 1, address 0x2b, one byte.
        let mut inbox = vec![0x00, 0xff, 0xff, 0x01, 0x04, 0x02, 0x2b, 0x01, 0xcc, 0xff];
        assert_eq!(take(1, &mut inbox), Some(Instruction::Read { id: 1, first: 43, bytes: 1 }));
        assert_eq!((take(1, &mut inbox), inbox.as_slice()), (None, [0xff].as_slice()));
        assert_eq!(status(1, 1, 0, &[0x20]), [0xff, 0xff, 0x01, 0x03, 0x00, 0x20, 0xdb]);
        // Protocol 2, example of "Read": id 1, address 132, four bytes; its answer is 166.
        let mut inbox = vec![0xff, 0xff, 0xfd, 0, 1, 7, 0, 2, 0x84, 0, 4, 0, 0x1d, 0x15];
        assert_eq!(take(2, &mut inbox), Some(Instruction::Read { id: 1, first: 132, bytes: 4 }));
        assert_eq!(
            status(2, 1, 0, &[0xa6, 0, 0, 0]),
            [0xff, 0xff, 0xfd, 0, 1, 8, 0, 0x55, 0, 0xa6, 0, 0, 0, 0x8c, 0xc0]
        );
    }

    proptest! {
        #[test]
        fn noise_is_passed_over(noise in prop::collection::vec(any::<u8>(), 0..200), protocol in 1..=2_u8) {
            let mut inbox = noise;
            while take(protocol, &mut inbox).is_some() {}
            prop_assert!(inbox.len() <= PACKET_MAX);
        }

        #[test]
        fn stuffing_is_undone(bytes in prop::collection::vec(prop_oneof![Just(0xff), Just(0xfd), any::<u8>()], 0..40)) {
            prop_assert_eq!(unstuffed(&stuffed(&bytes)), bytes);
        }
    }
}
