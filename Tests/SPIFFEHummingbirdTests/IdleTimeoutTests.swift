import HummingbirdCore
import NIOCore
import Testing

@testable import SPIFFEHummingbird

@Suite("Idle connections of the Hummingbird server") struct IdleTimeoutTests {
    @Test("the timeout is the one of the server's settings, else the one given, and can be none")
    func timeout() {
        let own = HTTP1Channel.Configuration(idleTimeout: .seconds(5))
        let none = HTTP1Channel.Configuration()
        #expect(own.withIdleTimeout(.seconds(60)).idleTimeout == .seconds(5))
        #expect(own.withIdleTimeout(nil).idleTimeout == .seconds(5))
        #expect(none.withIdleTimeout(.seconds(60)).idleTimeout == .seconds(60))
        #expect(none.withIdleTimeout(nil).idleTimeout == nil)
    }
}
