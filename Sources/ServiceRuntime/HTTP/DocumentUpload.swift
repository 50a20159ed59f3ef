import NIOCore
import NIOHTTP1

/// A POST whose body is coming. Not more is kept than its head has announced and what takes it allows.
struct DocumentUpload {
    let head: HTTPRequestHead
    let request: DocumentRequest
    let post: DocumentPost
    /// What the head announced, in bytes.
    let length: Int
    private(set) var body: [UInt8] = []

    init(head: HTTPRequestHead, request: DocumentRequest, post: DocumentPost, length: Int) {
        self.head = head
        self.request = request
        self.post = post
        self.length = length
    }

    /// Keeps a piece of the body; false when it is more than was announced.
    mutating func take(_ bytes: ByteBuffer) -> Bool {
        guard self.body.count + bytes.readableBytes <= self.length else { return false }
        self.body.append(contentsOf: bytes.readableBytesView)
        return true
    }

    /// The announced length of a body; nil when there is none, or more than one.
    static func length(of head: HTTPRequestHead) -> Int? {
        let values = head.headers["content-length"]
        guard values.count == 1, let text = values.first, text.utf8.count <= 18,
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int(text)
    }
}

extension DocumentConnection {
    /// Begins to take a body, or refuses it; false when nothing takes POSTs at this path.
    func beginUpload(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) -> Bool {
        guard let posts = self.posts, let request = DocumentRequest(head, client: self.client),
            let post = posts(request)
        else { return false }
        if Self.size(of: head) > self.limits.maximumRequestBytes {
            self.refuse(.refusal(431, "header fields are too long"), context)
        } else if head.headers.contains(name: "transfer-encoding") {
            self.refuse(.refusal(411, "a body needs a Content-Length here"), context)
        } else if let length = DocumentUpload.length(of: head) {
            guard length <= post.maximumBytes else {
                self.refuse(
                    .refusal(
                        413, "a body of \(length) bytes; at most \(post.maximumBytes) are taken"),
                    context)
                return true
            }
            self.upload = DocumentUpload(
                head: head, request: request, post: post, length: length)
            let expects = head.headers["expect"].contains { $0.lowercased() == "100-continue" }
            // Behind an answer that is not ready yet it would be taken for that one.
            if expects, !self.isBusy {
                context.writeAndFlush(
                    self.wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")),
                    promise: nil)
            }
        } else {
            self.refuse(.refusal(411, "a body needs a Content-Length here"), context)
        }
        return true
    }
}
