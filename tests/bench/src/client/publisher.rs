//! Publishing over HTTP: one kept-alive connection, requests in order, possibly several under way.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::broadcast;
use crate::credentials::API_KEY;

const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// What a publisher's answers came to so far.
type Answers = Result<u64, String>;

/// Publishes events of the benchmark's tenant on one server.
pub struct Publisher {
    requests: OwnedWriteHalf,
    answers: watch::Receiver<Answers>,
    head: String,
    published: u64,
}

impl Publisher {
    /// Connects; the connection ends when the publisher is dropped.
    pub async fn connect(server: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (answers, requests) = stream.into_split();
        let (sender, receiver) = watch::channel(Ok(0));
        tokio::spawn(count_answers(BufReader::new(answers), sender));
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: ",
            broadcast::path(),
        );
        Ok(Self { requests, answers: receiver, head, published: 0 })
    }

    /// Sends a publish request without waiting for its answer.
    pub async fn publish(&mut self, body: &str) -> Result<()> {
        let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
        self.requests.write_all(request.as_bytes()).await.context("publish")?;
        self.published += 1;
        Ok(())
    }

    /// Waits until the server has accepted everything published.
    pub async fn accepted(&mut self) -> Result<()> {
        let published = self.published;
        let done = |answers: &Answers| answers.as_ref().map_or(true, |accepted| *accepted == published);
        let answers = tokio::time::timeout(ANSWER_PATIENCE, self.answers.wait_for(done)).await;
        match &*answers.context("no answer to a publish request")?? {
            Ok(_) => Ok(()),
            Err(problem) => bail!("publish: {problem}"),
        }
    }
}

async fn count_answers(mut stream: BufReader<OwnedReadHalf>, answers: watch::Sender<Answers>) {
    for accepted in 1.. {
        let answer = read_answer(&mut stream).await.map(|()| accepted).map_err(|error| format!("{error:#}"));
        let last = answer.is_err();
        if answers.send(answer).is_err() || last {
            return;
        }
    }
}

/// Reads one answer; any but 202 is an error.
async fn read_answer(stream: &mut BufReader<OwnedReadHalf>) -> Result<()> {
    let mut status = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "connection closed");
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("transfer-encoding", _)) => bail!("a chunked answer"),
            Some(_) => {}
            None if line.is_empty() => break,
            None => status = line,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    if status.starts_with("http/1.1 202") {
        return Ok(());
    }
    Err(anyhow!("{status}: {}", String::from_utf8_lossy(&body)))
}
