//! Publishing over HTTP: one kept-alive connection, requests in order, possibly several under way.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::dialect::Target;
use crate::credentials::{API_KEY, Tenant};

const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// What a publisher's answers came to so far.
#[derive(Clone, Debug, Default)]
struct Answers {
    accepted: u64,
    refused: u64,
    problem: Option<String>,
}

/// One of them.
enum Answer {
    Accepted,
    /// The tenant is at one of its limits.
    Refused,
}

/// Publishes events of one tenant on one server.
pub struct Publisher {
    requests: OwnedWriteHalf,
    answers: watch::Receiver<Answers>,
    head: String,
    published: u64,
}

impl Publisher {
    /// Connects; the connection ends when the publisher is dropped.
    pub async fn connect(server: Target, tenant: Tenant) -> Result<Self> {
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let (answers, requests) = stream.into_split();
        let (sender, receiver) = watch::channel(Answers::default());
        tokio::spawn(count_answers(BufReader::new(answers), sender));
        let head = format!(
            "POST /v1/tenants/{}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: ",
            tenant.id(),
            address = server.address,
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
        self.at_most_unanswered(0).await
    }

    /// Waits until no more than so many requests lack their answer.
    pub async fn at_most_unanswered(&mut self, most: u64) -> Result<()> {
        let published = self.published;
        let done = |answers: &Answers| answers.problem.is_some() || answers.accepted + answers.refused + most >= published;
        let answers = tokio::time::timeout(ANSWER_PATIENCE, self.answers.wait_for(done)).await;
        let Answers { refused, problem, .. } = answers.context("no answer to a publish request")??.clone();
        match problem {
            Some(problem) => bail!("publish: {problem}"),
            None => ensure!(refused == 0, "publish: {refused} requests were refused"),
        }
        Ok(())
    }

    /// How many requests were refused because of a limit.
    ///
    /// # Errors
    ///
    /// When one was answered in any other way than that and acceptance, which ended the connection.
    pub fn refused(&self) -> Result<u64> {
        let answers = self.answers.borrow();
        match &answers.problem {
            Some(problem) => bail!("publish: {problem}"),
            None => Ok(answers.refused),
        }
    }
}

async fn count_answers(mut stream: BufReader<OwnedReadHalf>, answers: watch::Sender<Answers>) {
    loop {
        let answer = read_answer(&mut stream).await;
        answers.send_modify(|answers| match &answer {
            Ok(Answer::Accepted) => answers.accepted += 1,
            Ok(Answer::Refused) => answers.refused += 1,
            Err(problem) => answers.problem = Some(format!("{problem:#}")),
        });
        if answer.is_err() || answers.is_closed() {
            return;
        }
    }
}

/// Reads one answer; any but 202 and 429 is an error.
async fn read_answer(stream: &mut BufReader<OwnedReadHalf>) -> Result<Answer> {
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
    for (expected, answer) in [("http/1.1 202", Answer::Accepted), ("http/1.1 429", Answer::Refused)] {
        if status.starts_with(expected) {
            return Ok(answer);
        }
    }
    Err(anyhow!("{status}: {}", String::from_utf8_lossy(&body)))
}
