//! Frames on their way to one socket.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};

use crate::id::OpId;
use crate::limits::BODY_COPY_MAX;
use crate::slab::Key;

/// Whose frame it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// Attempt `number` of a send.
    Send { op: OpId, number: u32 },
    /// A request other than a send.
    Control(Key),
    /// An answer to a request of the peer.
    Answer,
}

enum Segment {
    /// So many bytes of the running buffer: headers and small bodies.
    Inline(usize),
    /// A large body, as the caller gave it.
    Body(Bytes),
}

#[derive(Debug)]
struct FrameRecord {
    owner: Owner,
    length: usize,
    /// Bytes that the socket has not taken yet.
    left: usize,
}

/// What became of a frame that is to be taken back.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum TakenBack {
    /// It was there, untouched, and is gone.
    Removed,
    /// Some of its bytes have left; the rest must follow.
    Started,
    /// It is not there.
    Absent,
}

/// Bytes for one socket: small parts gathered in one running buffer, large bodies as they are.
#[derive(Default)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    /// Bytes of the buffer that the socket has taken.
    head: usize,
    segments: VecDeque<Segment>,
    frames: VecDeque<FrameRecord>,
    unsent: usize,
    /// Bytes taken by the socket that no frame record has been told of yet.
    taken: usize,
}

impl Outbox {
    /// Adds a frame. `encode` writes everything before the body; if it fails, nothing is added.
    pub(super) fn push<E>(
        &mut self,
        owner: Owner,
        body: &Bytes,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.buffer.len();
        if let Err(error) = encode(&mut self.buffer) {
            self.buffer.truncate(start);
            return Err(error);
        }
        let copied = body.len() < BODY_COPY_MAX;
        if copied {
            self.buffer.extend_from_slice(body);
        }
        let inline = self.buffer.len() - start;
        match self.segments.back_mut() {
            Some(Segment::Inline(length)) => *length += inline,
            _ => self.segments.push_back(Segment::Inline(inline)),
        }
        let mut length = inline;
        if !copied {
            length += body.len();
            self.segments.push_back(Segment::Body(body.clone()));
        }
        self.frames.push_back(FrameRecord { owner, length, left: length });
        self.unsent += length;
        Ok(())
    }

    /// Bytes that the socket has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// The unsent bytes, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.buffer.get(self.head..).unwrap_or_default();
        self.segments.iter().map(move |segment| match segment {
            Segment::Inline(length) => {
                let (chunk, tail) = rest.split_at(*length);
                rest = tail;
                chunk
            }
            Segment::Body(body) => &body[..],
        })
    }

    /// The socket took `n` more bytes (at most all). Ask [`Outbox::pop_written`] what that ended.
    pub(super) fn advance(&mut self, n: usize) {
        let n = n.min(self.unsent);
        self.unsent -= n;
        self.taken += n;
        let mut rest = n;
        while rest > 0 {
            let Some(segment) = self.segments.front_mut() else {
                break;
            };
            let length = match segment {
                Segment::Inline(length) => *length,
                Segment::Body(body) => body.len(),
            };
            let step = rest.min(length);
            rest -= step;
            match segment {
                Segment::Inline(length) => {
                    *length -= step;
                    self.head += step;
                }
                Segment::Body(body) => body.advance(step),
            }
            if step == length {
                self.segments.pop_front();
            }
        }
        if self.head == self.buffer.len() {
            self.buffer.clear();
            self.head = 0;
        } else if self.head > 64 * 1024 {
            // A socket that never catches up must not let the taken part grow.
            self.buffer.drain(..self.head);
            self.head = 0;
        }
    }

    /// The next frame whose last byte the socket has taken.
    pub(super) fn pop_written(&mut self) -> Option<Owner> {
        let frame = self.frames.front_mut()?;
        if frame.left > self.taken {
            frame.left -= self.taken;
            self.taken = 0;
            return None;
        }
        self.taken -= frame.left;
        self.frames.pop_front().map(|frame| frame.owner)
    }

    /// Takes a frame back if none of its bytes has left.
    pub(super) fn take_back(&mut self, owner: Owner) -> TakenBack {
        let mut offset = 0;
        for index in 0..self.frames.len() {
            let Some(frame) = self.frames.get(index) else {
                break;
            };
            if frame.owner != owner {
                offset += frame.left;
                continue;
            }
            if frame.left < frame.length {
                return TakenBack::Started;
            }
            let length = frame.length;
            self.frames.remove(index);
            self.cut(offset, length - usize::from(planted!(TakeBackLeavesByte)));
            return TakenBack::Removed;
        }
        TakenBack::Absent
    }

    /// Whether some bytes of a frame have left, and not all.
    pub(super) fn is_started(&self, owner: Owner) -> bool {
        let first = self.frames.front();
        first.is_some_and(|frame| frame.owner == owner && frame.left < frame.length)
    }

    /// Owners of the frames whose last byte has not left.
    pub(super) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.frames.iter().map(|frame| frame.owner)
    }

    /// Removes `length` unsent bytes from `offset` on: whole segments, or parts of inline ones.
    fn cut(&mut self, mut offset: usize, length: usize) {
        self.unsent -= length;
        let mut rest = length;
        let mut at = self.head;
        let mut index = 0;
        while rest > 0 && index < self.segments.len() {
            let Some(segment) = self.segments.get_mut(index) else {
                break;
            };
            let size = match segment {
                Segment::Inline(length) => *length,
                Segment::Body(body) => body.len(),
            };
            if offset >= size {
                offset -= size;
                index += 1;
                at += if matches!(segment, Segment::Inline(_)) { size } else { 0 };
                continue;
            }
            let step = rest.min(size - offset);
            rest -= step;
            if let Segment::Inline(length) = segment {
                *length -= step;
                self.buffer.drain(at + offset..at + offset + step);
            }
            if step == size {
                self.segments.remove(index);
            } else {
                at += size - step;
                index += 1;
            }
            offset = 0;
        }
    }
}

/// Without the bytes: bodies and security tokens are among them.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("frames", &self.frames)
            .field("unsent", &self.unsent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn owner(number: u32) -> Owner {
        Owner::Send { op: OpId { index: number, generation: 0 }, number }
    }

    fn push(outbox: &mut Outbox, number: u32, header: &[u8], body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let encode = |out: &mut Vec<u8>| {
            out.extend_from_slice(header);
            Ok::<(), ()>(())
        };
        outbox.push(owner(number), &body, encode).unwrap();
    }

    #[test]
    fn a_failed_encoding_leaves_nothing_behind() {
        let mut outbox = Outbox::default();
        let failed = outbox.push(owner(1), &Bytes::new(), |out| {
            out.push(1);
            Err(())
        });
        assert_eq!(failed, Err(()));
        assert_eq!((outbox.unsent(), outbox.chunks().count()), (0, 0));
    }

    #[test]
    fn a_started_frame_cannot_be_taken_back() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"head", b"body");
        outbox.advance(1);
        assert_eq!(outbox.pop_written(), None);
        assert_eq!(outbox.take_back(owner(1)), TakenBack::Started);
        assert_eq!(outbox.take_back(owner(2)), TakenBack::Absent);
    }

    /// Random pushes, partial writes and removals against a plain list of frames.
    #[test]
    fn against_a_list_of_frames() {
        let mut rng = Rng::from_seed(11);
        let mut outbox = Outbox::default();
        let mut frames: Vec<(u32, Vec<u8>, usize)> = Vec::new();
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        let mut removed = 0;
        for number in 0..4_000_u32 {
            let large = rng.below(4) == 0;
            let body =
                alloc::vec![number as u8; if large { 5_000 } else { rng.below(50) as usize }];
            let header = alloc::vec![!(number as u8); 1 + rng.below(30) as usize];
            push(&mut outbox, number, &header, &body);
            frames.push((number, [header, body].concat(), 0));
            if rng.below(3) == 0 {
                let pick = frames[rng.below(frames.len() as u32) as usize].0;
                let index = frames.iter().position(|frame| frame.0 == pick).unwrap();
                let fresh = frames[index].2 == 0;
                let taken = outbox.take_back(owner(pick));
                assert_eq!(taken == TakenBack::Removed, fresh);
                if fresh {
                    frames.remove(index);
                    removed += 1;
                }
            }
            let mut n = rng.below(outbox.unsent().min(9_000) as u32 + 1) as usize;
            let chunks: Vec<u8> = outbox.chunks().flatten().copied().collect();
            assert_eq!(chunks.len(), outbox.unsent());
            sent.extend_from_slice(&chunks[..n]);
            outbox.advance(n);
            while let Some(frame) = frames.first_mut() {
                let step = n.min(frame.1.len() - frame.2);
                expected.extend_from_slice(&frame.1[frame.2..frame.2 + step]);
                frame.2 += step;
                n -= step;
                if frame.2 < frame.1.len() {
                    break;
                }
                assert_eq!(outbox.pop_written(), Some(owner(frame.0)));
                frames.remove(0);
            }
            assert_eq!(outbox.pop_written(), None);
            assert_eq!(sent.len(), expected.len());
        }
        assert!(sent == expected, "bytes were torn");
        assert!(removed > 100);
    }
}
