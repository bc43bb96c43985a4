//! A plain HTTP/1.1 client for the shards' HTTPS, which takes whatever certificate it is shown.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// What a server answered.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, line by line.
    pub head: Vec<String>,
    /// The body.
    pub body: String,
}

impl Answered {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.iter().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// One connection.
pub struct Https {
    stream: StreamOwned<ClientConnection, TcpStream>,
    address: SocketAddr,
}

impl Https {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_alpn(address, &["http/1.1"])
    }

    /// Connects with these protocols to choose from.
    pub fn with_alpn(address: SocketAddr, protocols: &[&str]) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anybody = Arc::new(Anybody(provider.clone()));
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("TLS 1.2 and 1.3").dangerous().with_custom_certificate_verifier(anybody);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::from(address.ip());
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let socket = TcpStream::connect(address).expect("the edge listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        Self { stream: StreamOwned::new(client, socket), address }
    }

    /// The protocol that was chosen.
    pub fn protocol(&mut self) -> Option<Vec<u8>> {
        self.stream.flush().expect("a handshake");
        self.stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// One request on a connection of its own.
    pub fn request(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answered {
        let mut client = Self::connect(address);
        client.send(method, path, &[fields, &[("Connection", "close")]].concat(), body);
        client.read().expect("an answer")
    }

    /// Sends a request.
    pub fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.address, body.len());
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}\r\n{body}").as_bytes());
    }

    /// Sends bytes. A server that has said its word already may not read them.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// The next answer; `None` when the connection is closed without one.
    pub fn read(&mut self) -> Option<Answered> {
        let mut bytes = Vec::new();
        let mut byte = [0; 1];
        while !bytes.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("no answer: {}", String::from_utf8_lossy(&bytes))
                }
                _ => return None,
            }
        }
        let text = String::from_utf8(bytes).expect("a head in ASCII");
        let head: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let status = head[0].split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut answered = Answered { status, head, body: String::new() };
        let len = answered.field("content-length").map_or(0, |len| len.parse().expect("a number"));
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).expect("the body");
        answered.body = String::from_utf8(body).expect("text");
        Some(answered)
    }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
