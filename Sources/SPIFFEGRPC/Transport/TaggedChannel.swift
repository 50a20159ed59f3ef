import NIOCore

/// A channel that forwards everything to another one and answers `remoteAddress` with the number of the
/// connection.
///
/// The gRPC transport derives `ServerContext.remotePeer` from the channel it is given, and that text is the
/// only thing that travels from a connection to its calls. The number in it leads back to what the
/// listener learned about the peer. Nothing a client sends can influence it.
// @unchecked: `Channel` is Sendable and this class has no mutable state.
final class TaggedChannel: Channel, ChannelCore, @unchecked Sendable {
    private let base: any Channel
    private let address: SocketAddress

    init(_ base: any Channel, tag: String) throws {
        self.base = base
        self.address = try SocketAddress(unixDomainSocketPath: tag)
    }

    var allocator: ByteBufferAllocator { self.base.allocator }
    var closeFuture: EventLoopFuture<Void> { self.base.closeFuture }
    var pipeline: ChannelPipeline { self.base.pipeline }
    var localAddress: SocketAddress? { self.base.localAddress }
    var remoteAddress: SocketAddress? { self.address }
    var parent: (any Channel)? { self.base.parent }
    var isWritable: Bool { self.base.isWritable }
    var isActive: Bool { self.base.isActive }
    var eventLoop: any EventLoop { self.base.eventLoop }
    var _channelCore: any ChannelCore { self }

    func setOption<Option: ChannelOption>(
        _ option: Option, value: Option.Value
    ) -> EventLoopFuture<Void> {
        self.base.setOption(option, value: value)
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        self.base.getOption(option)
    }

    var syncOptions: (any NIOSynchronousChannelOptions)? { self.base.syncOptions }

    func localAddress0() throws -> SocketAddress { try self.base._channelCore.localAddress0() }
    func remoteAddress0() throws -> SocketAddress { self.address }
    func register0(promise: EventLoopPromise<Void>?) {
        self.base._channelCore.register0(promise: promise)
    }
    func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) {
        self.base._channelCore.registerAlreadyConfigured0(promise: promise)
    }
    func bind0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        self.base._channelCore.bind0(to: address, promise: promise)
    }
    func connect0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        self.base._channelCore.connect0(to: address, promise: promise)
    }
    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        self.base._channelCore.write0(data, promise: promise)
    }
    func flush0() { self.base._channelCore.flush0() }
    func read0() { self.base._channelCore.read0() }
    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        self.base._channelCore.close0(error: error, mode: mode, promise: promise)
    }
    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        self.base._channelCore.triggerUserOutboundEvent0(event, promise: promise)
    }
    func channelRead0(_ data: NIOAny) { self.base._channelCore.channelRead0(data) }
    func errorCaught0(error: any Error) { self.base._channelCore.errorCaught0(error: error) }
}
