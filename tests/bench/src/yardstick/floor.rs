//! The peer `floor`: one loop around epoll, and for a broadcast one `send` of a ready frame to each member.
//!
//! No server that writes to each socket by itself can do with less, so it is what the others' figures are divided by.

mod connection;

use std::{
    collections::{HashMap, VecDeque},
    io::{ErrorKind, Read},
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::connection::{Connection, Stage};
use super::{
    ServeYardstick,
    handshake::{JOINED, Keys, PING, event_packet, open_packet, switching_protocols},
    request::{self, Request, answer},
};
use crate::frame::{masked_text_in, text_frame};

/// What the listener is called in events; connections are called by where they stand in the table.
const LISTENER: u64 = u64::MAX;
const EVENTS_AT_ONCE: usize = 1024;
const READ_BUFFER_BYTES: usize = 64 << 10;

struct Floor {
    epoll: Epoll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    rooms: HashMap<String, Vec<usize>>,
    keys: Keys,
    open_packet: Vec<u8>,
    joined: Vec<u8>,
    ping: Vec<u8>,
    ping_interval: Duration,
    /// Who is to be pinged when: the interval is the same for all, so the order is that in which they were pinged last.
    pings: VecDeque<(Instant, usize, u64)>,
    /// How many connections there were so far: tells one from the next at the same place.
    accepted: u64,
}

/// Serves until the process is ended.
pub fn serve(options: &ServeYardstick) -> Result<()> {
    let listener = TcpListener::bind(options.address())?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut floor = Floor {
        epoll,
        listener,
        connections: Vec::new(),
        vacant: Vec::new(),
        rooms: HashMap::new(),
        keys: Keys::default(),
        open_packet: text_frame(&open_packet(options.ping_interval_ms)),
        joined: text_frame(JOINED),
        ping: text_frame(PING),
        ping_interval: Duration::from_millis(options.ping_interval_ms),
        pings: VecDeque::new(),
        accepted: 0,
    };
    floor.run()
}

impl Floor {
    fn run(&mut self) -> Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS_AT_ONCE];
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        loop {
            let count = self.epoll.wait(&mut events, self.until_next_ping()?)?;
            for event in &events[..count] {
                if event.data() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let place = usize::try_from(event.data())?;
                // Whoever breaks the protocol, or goes, is gone.
                if self.serve(place, event.events(), &mut buffer).is_err() {
                    self.close(place);
                }
            }
            self.send_pings();
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.vacant.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
            self.accepted += 1;
            self.connections[place] = Some(Connection::new(stream, self.accepted));
        }
    }

    fn close(&mut self, place: usize) {
        let Some(connection) = self.connections[place].take() else { return };
        if let Stage::Member { tenant } = &connection.stage
            && let Some(members) = self.rooms.get_mut(tenant)
        {
            members.retain(|member| *member != place);
        }
        self.vacant.push(place);
    }

    fn serve(&mut self, place: usize, events: EpollFlags, buffer: &mut [u8]) -> Result<()> {
        let Some(connection) = self.connections[place].as_mut() else { return Ok(()) };
        if events.contains(EpollFlags::EPOLLOUT) {
            connection.send_waiting(&self.epoll, place)?;
        }
        if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Ok(());
        }
        match connection.stream.read(buffer) {
            Ok(0) => anyhow::bail!("closed"),
            Ok(read) if connection.incomplete.is_empty() => {
                let used = self.take(place, &mut buffer[..read])?;
                self.keep(place, &buffer[used..read]);
            }
            Ok(read) => {
                let mut bytes = std::mem::take(&mut connection.incomplete);
                bytes.extend_from_slice(&buffer[..read]);
                let used = self.take(place, &mut bytes)?;
                self.keep(place, &bytes[used..]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn keep(&mut self, place: usize, rest: &[u8]) {
        if let Some(connection) = self.connections[place].as_mut() {
            connection.incomplete = rest.to_vec();
        }
    }

    /// Does what the bytes ask for; returns how many were complete.
    fn take(&mut self, place: usize, bytes: &mut [u8]) -> Result<usize> {
        let mut used = 0;
        while let Some(connection) = self.connections[place].as_mut() {
            let rest = &mut bytes[used..];
            if let Stage::Http = connection.stage {
                let Some((request, length)) = request::first(rest)? else { break };
                used += length;
                match request {
                    Request::Upgrade { key } => {
                        connection.send(&self.epoll, place, switching_protocols(key).as_bytes())?;
                        connection.send(&self.epoll, place, &self.open_packet)?;
                        connection.stage = Stage::AwaitingConnect;
                    }
                    Request::Publish { tenant, body } => {
                        let packet = event_packet(body)?;
                        self.broadcast(tenant, &text_frame(&packet));
                        self.answer(place, "202 Accepted")?;
                    }
                    Request::Unauthorized => self.answer(place, "401 Unauthorized")?,
                    Request::Unknown => self.answer(place, "404 Not Found")?,
                }
            } else {
                let Some((text, length)) = masked_text_in(rest)? else { break };
                used += length;
                if let Stage::AwaitingConnect = connection.stage {
                    let tenant = self.keys.tenant(text)?;
                    connection.send(&self.epoll, place, &self.joined)?;
                    connection.stage = Stage::Member { tenant: tenant.clone() };
                    self.pings.push_back((Instant::now() + self.ping_interval, place, connection.number));
                    self.rooms.entry(tenant).or_default().push(place);
                }
            }
        }
        Ok(used)
    }

    fn answer(&mut self, place: usize, status: &str) -> Result<()> {
        self.send(place, answer(status).as_bytes())
    }

    fn broadcast(&mut self, tenant: &str, frame: &[u8]) {
        let mut gone = Vec::new();
        for &place in self.rooms.get(tenant).into_iter().flatten() {
            if let Some(connection) = self.connections[place].as_mut()
                && connection.send(&self.epoll, place, frame).is_err()
            {
                gone.push(place);
            }
        }
        for place in gone {
            self.close(place);
        }
    }

    fn send(&mut self, place: usize, bytes: &[u8]) -> Result<()> {
        match self.connections[place].as_mut() {
            Some(connection) => connection.send(&self.epoll, place, bytes),
            None => Ok(()),
        }
    }

    fn until_next_ping(&self) -> Result<EpollTimeout> {
        let Some((due, ..)) = self.pings.front() else { return Ok(EpollTimeout::NONE) };
        // The next whole millisecond, so that it does not wait for nothing.
        let wait = due.saturating_duration_since(Instant::now()).as_millis() + 1;
        Ok(EpollTimeout::try_from(i32::try_from(wait)?)?)
    }

    fn send_pings(&mut self) {
        let now = Instant::now();
        while let Some(&(due, place, number)) = self.pings.front().filter(|(due, ..)| *due <= now) {
            self.pings.pop_front();
            let Some(connection) = self.connections[place].as_mut().filter(|connection| connection.number == number) else { continue };
            if connection.send(&self.epoll, place, &self.ping).is_err() {
                self.close(place);
            } else {
                self.pings.push_back((due + self.ping_interval, place, number));
            }
        }
    }
}
