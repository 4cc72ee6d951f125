//! The other side of a loop: a process that answers, and ends with who started it.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use anyhow::{Result, bail};

/// Bytes of a message that goes back and forth.
pub const MESSAGE: usize = 64;
/// Bytes that the TCP flood sends before its partner answers.
pub const MIB: usize = 1 << 20;
/// Bytes of a datagram of the UDP flood, and how many are sent before its partner answers: what the default receive
/// buffer holds (208 KiB, 2,304 bytes a datagram), so that none is lost.
pub const DATAGRAM: usize = 1 << 10;
/// See [`DATAGRAM`].
pub const WINDOW: u32 = 64;

/// What a partner does: `stdio`, or another role with the port to connect to.
pub fn serve(role: &str) -> Result<()> {
    let (role, port) = role.split_once(':').unwrap_or((role, "0"));
    let to = (Ipv4Addr::LOCALHOST, port.parse::<u16>()?);
    match role {
        "stdio" => echo(io::stdin().as_fd(), io::stdout().as_fd()),
        "tcp" => {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            echo(stream.as_fd(), stream.as_fd())
        }
        "tcp-sink" => {
            let mut stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            let mut bytes = vec![0; MIB];
            while stream.read_exact(&mut bytes).is_ok() {
                stream.write_all(&[0])?;
            }
            Ok(())
        }
        "udp" | "udp-sink" => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(to)?;
            socket.send(b"here")?;
            if role == "udp" {
                return echo(socket.as_fd(), socket.as_fd());
            }
            loop {
                for _ in 0..WINDOW {
                    socket.recv(&mut [0; DATAGRAM])?;
                }
                socket.send(&[0])?;
            }
        }
        _ => bail!("there is no partner {role}"),
    }
}

/// Sends back what comes until nothing does.
fn echo(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let mut bytes = [0; MESSAGE];
    loop {
        let count = rustix::io::read(&from, &mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        rustix::io::write(&to, &bytes[..count])?;
    }
}

/// A partner in this role, and the connection to it.
pub fn tcp_partner(role: &str) -> Result<(Partner, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let partner = Partner::connecting(role, listener.local_addr()?.port())?;
    Ok((partner, listener.accept()?.0))
}

/// The same with datagrams.
pub fn udp_partner(role: &str) -> Result<(Partner, UdpSocket)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let partner = Partner::connecting(role, socket.local_addr()?.port())?;
    let (_, from) = socket.recv_from(&mut [0; MESSAGE])?;
    socket.connect(from)?;
    Ok((partner, socket))
}

/// Starts this program again.
pub fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// Another process; ends with this.
pub struct Partner(pub Child);

impl Partner {
    fn connecting(role: &str, port: u16) -> Result<Self> {
        Ok(Self(this_program()?.args(["--partner", &format!("{role}:{port}")]).spawn()?))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
