import NIOCore

/// Stands before the parser and tells the connection how much it is given.
final class DocumentByteCounter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: DocumentConnection

    init(_ connection: DocumentConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = self.unwrapInboundIn(data)
        self.connection.willParse(buffer.readableBytes)
        context.fireChannelRead(self.wrapInboundOut(buffer))
        self.connection.didParse()
    }
}
