//! What a browser's request looks like by the time an ingress has passed it on.

use std::net::SocketAddrV4;

use crate::credentials::ORIGIN;

/// The head of a request with these headers among a browser's own.
pub fn head(method: &str, path: &str, server: SocketAddrV4, index: usize, headers: &[String]) -> String {
    let client = index % 250;
    let mut lines = vec![format!("{method} {path} HTTP/1.1"), format!("Host: {server}")];
    lines.extend_from_slice(headers);
    lines.extend([
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36".to_owned(),
        "Accept-Encoding: gzip, deflate, br, zstd".to_owned(),
        "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8".to_owned(),
        "Cache-Control: no-cache".to_owned(),
        "Pragma: no-cache".to_owned(),
        format!("Origin: {ORIGIN}"),
        format!("X-Forwarded-For: 10.1.2.{client}"),
        "X-Forwarded-Proto: https".to_owned(),
        format!("X-Request-Id: 7d9f6e5c-1111-2222-3333-{index:012}"),
        format!(
            "Cookie: session={index:064}; _ga=GA1.1.1234567890.1234567890; theme=dark; \
             csrftoken=abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"
        ),
        "\r\n".to_owned(),
    ]);
    lines.join("\r\n")
}

/// The same, asking for a WebSocket.
pub fn upgrade(path: &str, server: SocketAddrV4, index: usize) -> String {
    let headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ];
    head("GET", path, server, index, &headers.map(str::to_owned))
}
