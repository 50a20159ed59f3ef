// swift-tools-version:6.2
import Foundation
import PackageDescription

/// Settings of every target written by hand. CI sets CYGNET_STRICT so that a warning fails the build
/// there and does not stop somebody in the middle of a change.
let strict = ProcessInfo.processInfo.environment["CYGNET_STRICT"] == "1"
let settings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])

/// The release compiler (Swift 6.3.1) crashes while it splits some of the command line's async functions ("While
/// splitting coroutine"). The two targets with the commands do no hot work, so they are built unoptimised until
/// the compiler is mended. They are in no library product, so users of the SDK never meet the flag.
let commandSettings = settings + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

/// What makes the two daemons small in memory (docs/performance.md): relocations packed to a few kilobytes
/// instead of 3.5 MB, no table of exported symbols, equal functions once, no symbols, which only a profiler
/// needs (CYGNET_SYMBOLS=1 keeps them), and the functions that run most side by side (`dev/release` finds out
/// which, and sets CYGNET_ORDER to the folder with the lists).
func daemonLinkerSettings(_ product: String) -> [LinkerSetting] {
    let environment = ProcessInfo.processInfo.environment
    var flags = [
        "-use-ld=lld", "-Xlinker", "--no-export-dynamic", "-Xlinker", "-z", "-Xlinker",
        "pack-relative-relocs", "-Xlinker", "--icf=safe",
    ]
    flags += ["-Xlinker", environment["CYGNET_SYMBOLS"] == "1" ? "--strip-debug" : "--strip-all"]
    if let folder = environment["CYGNET_ORDER"] {
        flags += [
            "-Xlinker", "--symbol-ordering-file=\(folder)/\(product)",
            "-Xlinker", "--no-warn-symbol-ordering",
        ]
    }
    return [.unsafeFlags(flags, .when(platforms: [.linux], configuration: .release))]
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let grpcCore = Target.Dependency.product(name: "GRPCCore", package: "grpc-swift-2")
let grpcTransport = Target.Dependency.product(
    name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let grpcProtobuf = Target.Dependency.product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let argumentParser = Target.Dependency.product(
    name: "ArgumentParser", package: "swift-argument-parser")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")

let package = Package(
    name: "cygnet",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "SPIFFE", targets: ["SPIFFE"]),
        .library(name: "SPIFFEWorkloadAPI", targets: ["SPIFFEWorkloadAPI"]),
        .library(name: "SPIFFETLS", targets: ["SPIFFETLS"]),
        .library(name: "SPIFFEGRPC", targets: ["SPIFFEGRPC"]),
        .library(name: "SPIFFEHTTP", targets: ["SPIFFEHTTP"]),
        .library(name: "SPIFFEFederation", targets: ["SPIFFEFederation"]),
        .library(name: "SPIFFEHummingbird", targets: ["SPIFFEHummingbird"]),
        .library(name: "SPIFFETesting", targets: ["SPIFFETesting"]),
        // Incubating, as the standard is.
        .library(name: "SPIFFEBroker", targets: ["SPIFFEBroker"]),
        .executable(name: "cygnet-server", targets: ["cygnet-server"]),
        .executable(name: "cygnet-agent", targets: ["cygnet-agent"]),
        .executable(name: "cygnet", targets: ["cygnet"]),
    ],
    dependencies: [
        // The oldest versions that are tested. Ranges, because an exact version here would forbid every other one in the
        // packages of users.
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", from: "2.4.1"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", from: "2.9.2"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-http2.git", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        // For SPIFFEHummingbird alone; compiled only by those who use that product.
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
    ],
    targets: [
        // MARK: SDK
        .target(
            name: "SPIFFE",
            dependencies: ["CZlib", x509, asn1, crypto, cryptoExtras, nioConcurrency],
            swiftSettings: settings),
        // Status lists are compressed.
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "SPIFFEWorkloadAPI",
            dependencies: [
                "SPIFFE", "WorkloadAPIProto", grpcCore, grpcTransport, grpcProtobuf, protobuf,
                logging,
                nioConcurrency, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFETLS",
            dependencies: [
                "SPIFFE", nioSSL, nioTLS, nioCore, nioPosix, nioConcurrency, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFEHTTP",
            dependencies: [
                "SPIFFE", "SPIFFETLS", nioCore, nioPosix, nioHTTP1, nioSSL, nioTLS, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFEFederation",
            dependencies: [
                "SPIFFE", "SPIFFETLS", "SPIFFEHTTP", nioCore, nioPosix, nioHTTP1, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFEHummingbird",
            dependencies: [
                "SPIFFE", "SPIFFETLS", hummingbird, hummingbirdCore, httpTypes, logging, nioCore,
                nioSSL, nioTLS, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFEBroker",
            dependencies: [
                "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFETLS", "WorkloadAPIProto", grpcCore,
                grpcTransport, grpcProtobuf, protobuf, logging, nioCore, nioSSL, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(name: "HTTP2", dependencies: [nioCore, nioHPACK], swiftSettings: settings),
        .target(
            name: "SPIFFEGRPC",
            dependencies: [
                "SPIFFE", "SPIFFETLS", "HTTP2", "CPeer", grpcCore, grpcTransport, nioCore, nioPosix,
                nioSSL, nioTLS, nioHPACK, nioConcurrency, x509, asn1,
            ],
            swiftSettings: settings),
        .target(
            name: "SPIFFETesting",
            dependencies: [
                "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFEGRPC", "WorkloadAPIProto", grpcCore, protobuf,
                nioConcurrency, x509, asn1, crypto, cryptoExtras,
            ],
            swiftSettings: settings),

        // MARK: Generated code
        .target(name: "WorkloadAPIProto", dependencies: [grpcCore, grpcProtobuf, protobuf]),
        .target(name: "ControlPlaneProto", dependencies: [grpcCore, grpcProtobuf, protobuf]),

        // MARK: Engines
        .target(name: "Transparency", dependencies: ["SPIFFE", crypto], swiftSettings: settings),

        // MARK: Plugins
        .target(
            name: "PluginAPI", dependencies: ["SPIFFE", x509, asn1, crypto, cryptoExtras],
            swiftSettings: settings),
        .target(
            name: "Plugins",
            dependencies: [
                "PluginAPI", "SPIFFE", "SPIFFEHTTP", "CPeer", crypto, cryptoExtras, x509, asn1,
                logging,
                nioConcurrency,
            ],
            swiftSettings: settings),

        // MARK: Service
        .target(
            name: "CPeer",
            cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "ServiceRuntime",
            dependencies: [
                "CPeer", logging, argumentParser, nioConcurrency, nioCore, nioPosix, nioHTTP1,
            ],
            swiftSettings: settings),
        .target(
            name: "ServerCore",
            dependencies: [
                "SPIFFE", "PluginAPI", "Transparency", "CZlib", logging, crypto, x509, asn1,
                nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "ServerStore",
            dependencies: [
                "ServerCore", "Transparency", "SPIFFE", "CPeer", grdb, logging, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "ServerEndpoints",
            dependencies: [
                "ServerCore", "Transparency", "ControlPlaneProto", "SPIFFE", "SPIFFETLS",
                "SPIFFEGRPC",
                "SPIFFEFederation",
                "ServiceRuntime",
                "PluginAPI", grpcCore, grpcTransport, grpcProtobuf, protobuf, logging, x509, asn1,
                crypto, nioCore, nioHPACK, nioSSL, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "AgentCore",
            dependencies: [
                "SPIFFE", "PluginAPI", logging, crypto, cryptoExtras, x509, asn1, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "AgentEndpoints",
            dependencies: [
                "AgentCore", "WorkloadAPIProto", "ControlPlaneProto", "SPIFFE", "SPIFFETLS",
                "SPIFFEGRPC", "ServiceRuntime", "PluginAPI", grpcCore, grpcTransport, grpcProtobuf,
                protobuf, logging, x509, asn1, crypto, nioCore, nioHPACK, nioSSL, nioConcurrency,
            ],
            swiftSettings: settings),
        .target(
            name: "ServerProgram",
            dependencies: [
                "ServerCore", "Transparency", "SPIFFEHTTP", "ServerStore", "ServerEndpoints",
                "Plugins", "PluginAPI",
                "ServiceRuntime", "SPIFFE", "SPIFFETLS", "SPIFFEGRPC", "SPIFFEFederation",
                "SPIFFEWorkloadAPI",
                "ControlPlaneProto",
                grpcCore,
                grpcTransport, grpcProtobuf, protobuf, logging, argumentParser, x509, asn1, crypto,
                nioConcurrency,
            ],
            swiftSettings: commandSettings),
        .target(
            name: "AgentProgram",
            dependencies: [
                "AgentCore", "AgentEndpoints", "Plugins", "PluginAPI", "ServiceRuntime", "SPIFFE",
                "SPIFFEWorkloadAPI", "SPIFFEGRPC", "WorkloadAPIProto", "ControlPlaneProto",
                grpcCore, grpcTransport, grpcProtobuf, protobuf, logging, argumentParser, x509,
                asn1,
                crypto, nioConcurrency,
            ],
            swiftSettings: commandSettings),

        // MARK: Programs
        .executableTarget(
            name: "cygnet-server", dependencies: ["ServerProgram", "ServiceRuntime"],
            swiftSettings: settings, linkerSettings: daemonLinkerSettings("cygnet-server")),
        .executableTarget(
            name: "cygnet-agent", dependencies: ["AgentProgram", "ServiceRuntime"],
            swiftSettings: settings, linkerSettings: daemonLinkerSettings("cygnet-agent")),
        .executableTarget(
            name: "cygnet",
            dependencies: [
                "ServerProgram", "ServerStore", "ServerCore", "AgentProgram", "AgentCore", "SPIFFE",
                "SPIFFEHTTP", "ServiceRuntime",
                "Transparency",
                argumentParser,
                logging, nioConcurrency,
            ],
            swiftSettings: settings),

        // MARK: Tests of the agent
        .testTarget(
            name: "AgentCoreTests",
            dependencies: [
                "AgentCore", "PluginAPI", "SPIFFE", logging, nioConcurrency, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "PluginsTests",
            dependencies: [
                "Plugins", "PluginAPI", "SPIFFE", "SPIFFEHTTP", "SPIFFETesting", "CPeer", crypto,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "AgentEndpointsTests",
            dependencies: [
                "AgentEndpoints", "AgentCore", "PluginAPI", "SPIFFE", "SPIFFEGRPC", "SPIFFETLS",
                "SPIFFEBroker", "SPIFFEWorkloadAPI",
                "WorkloadAPIProto",
                "ControlPlaneProto", grpcCore, grpcTransport, grpcProtobuf, protobuf, logging,
                nioConcurrency, nioCore, x509, asn1, crypto,
            ],
            swiftSettings: settings),

        // MARK: Tests of command line and configuration
        .testTarget(
            name: "ServiceRuntimeTests",
            dependencies: [
                "ServiceRuntime", logging, nioCore, nioPosix, nioHTTP1,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerProgramTests",
            dependencies: [
                "ServerProgram", "ServerCore", "ServiceRuntime", "SPIFFE", "SPIFFEWorkloadAPI",
                "ControlPlaneProto", "Transparency",
                // A control plane for commands to talk to, and partners' endpoints.
                "ServerTestSupport", "LoopbackTestSupport", "ServerEndpoints", "SPIFFETLS",
                "SPIFFEHTTP",
                protobuf, logging,
                argumentParser, nioConcurrency, nioCore, nioPosix, nioSSL, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "AgentProgramTests",
            dependencies: ["AgentProgram", "AgentEndpoints", "ServiceRuntime", "SPIFFE"],
            swiftSettings: settings),

        // MARK: Tests of the server
        .target(
            name: "ServerTestSupport",
            dependencies: [
                "ServerCore", "Transparency", "Plugins", "PluginAPI", "SPIFFE", x509, asn1, crypto,
                logging, nioConcurrency,
            ],
            path: "Tests/ServerTestSupport",
            swiftSettings: settings),
        .testTarget(
            name: "ServerCoreTests",
            dependencies: [
                "ServerTestSupport", "ServerCore", "Transparency", "Plugins", "PluginAPI", "SPIFFE",
                "CZlib", x509, asn1,
                crypto, cryptoExtras, logging, nioConcurrency,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerStoreTests",
            dependencies: [
                "ServerTestSupport", "ServerStore", "ServerCore", "Transparency", "Plugins",
                "PluginAPI",
                "SPIFFE", grdb, x509, asn1, crypto, cryptoExtras, logging, nioConcurrency,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerEndpointsTests",
            dependencies: [
                "ServerTestSupport", "ServerEndpoints", "ServerCore", "ServerStore", "Transparency",
                "ControlPlaneProto", "SPIFFE", "SPIFFETLS", "SPIFFEGRPC", "PluginAPI",
                "ServiceRuntime",
                grpcCore, grpcTransport, grpcProtobuf, protobuf, logging, x509, asn1, crypto,
                nioCore, nioPosix, nioSSL, nioConcurrency,
            ],
            swiftSettings: settings),

        // MARK: Tests of the engines
        .testTarget(
            name: "TransparencyTests", dependencies: ["Transparency", "SPIFFE", crypto],
            exclude: ["Vectors"], swiftSettings: settings),

        // MARK: Tests of the SDK
        // Servers that tests talk to over TCP and TLS.
        .target(
            name: "LoopbackTestSupport",
            dependencies: [nioCore, nioPosix, nioSSL, nioConcurrency, x509, asn1, crypto],
            path: "Tests/LoopbackTestSupport", swiftSettings: settings),
        .testTarget(
            name: "HTTP2Tests", dependencies: ["HTTP2", nioCore, nioHPACK],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFEGRPCTests",
            dependencies: [
                "SPIFFEGRPC", "SPIFFETLS", "SPIFFETesting", "SPIFFE", grpcCore, grpcTransport,
                nioCore, nioPosix,
                nioHPACK, nioConcurrency,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFEHTTPTests",
            dependencies: [
                "LoopbackTestSupport", "SPIFFEHTTP", "SPIFFETLS", "SPIFFETesting", "SPIFFE",
                nioCore,
                nioPosix, nioHTTP1,
                nioSSL, nioConcurrency, .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFEFederationTests",
            dependencies: [
                "LoopbackTestSupport", "SPIFFEFederation", "SPIFFEHTTP", "SPIFFETLS",
                "SPIFFETesting", "SPIFFE", nioCore,
                nioPosix, nioHTTP1, nioSSL, nioConcurrency, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFEHummingbirdTests",
            dependencies: [
                "SPIFFEHummingbird", "SPIFFEHTTP", "SPIFFETLS", "SPIFFETesting", "SPIFFE",
                hummingbird, nioHTTP1, nioCore, nioPosix, nioConcurrency, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFETestingTests",
            dependencies: ["SPIFFETesting", "SPIFFEWorkloadAPI", "SPIFFE"],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFETests",
            dependencies: ["SPIFFE", "CZlib", x509, asn1, crypto, cryptoExtras],
            exclude: ["Vectors"], swiftSettings: settings),
        .testTarget(
            name: "SPIFFETLSTests",
            dependencies: [
                "LoopbackTestSupport", "SPIFFE", "SPIFFETLS", "SPIFFETesting", nioSSL, nioCore,
                nioPosix, nioConcurrency,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SPIFFEWorkloadAPITests",
            dependencies: [
                "SPIFFEWorkloadAPI", "SPIFFE", "SPIFFETesting", "WorkloadAPIProto", protobuf,
                nioConcurrency,
            ],
            swiftSettings: settings),

        .testTarget(
            name: "SPIFFEBrokerTests",
            dependencies: [
                "SPIFFEBroker", "SPIFFETesting", "SPIFFEWorkloadAPI", "SPIFFE", "SPIFFETLS",
                "SPIFFEGRPC",
                "WorkloadAPIProto", grpcCore, grpcTransport, grpcProtobuf, protobuf,
                nioConcurrency, nioSSL, x509, asn1, crypto,
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "sdk-peer",
            dependencies: [
                "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFETLS", "SPIFFEGRPC", grpcCore, grpcTransport,
                nioCore,
            ],
            path: "Tests/SDKPeer", swiftSettings: settings),

        // MARK: Benchmarks of the SDK
        // Counts allocations by standing in front of malloc; linked into sdk-bench and nothing else.
        .target(name: "CAllocations", path: "Benchmarks/CAllocations"),
        .executableTarget(
            name: "sdk-bench",
            dependencies: [
                // ServerCore signs revocation lists; ServerStore and Transparency write the ledger.
                "CAllocations", "SPIFFE", "SPIFFETesting", "ServerCore", "ServerStore",
                "Transparency",
                "PluginAPI", x509, asn1, crypto,
            ],
            path: "Benchmarks/SDK", swiftSettings: settings),

        // MARK: Code of the documentation
        .target(
            name: "DocumentationExamples",
            dependencies: [
                "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFETLS", "SPIFFEGRPC", "SPIFFEHTTP",
                "SPIFFEFederation",
                "SPIFFEHummingbird", "SPIFFEBroker", "SPIFFETesting", grpcCore, grpcTransport,
                hummingbird, nioCore, nioPosix, nioHTTP1, nioSSL,
            ],
            path: "Examples/Documentation", swiftSettings: settings),
        // Not `greeter`: that is what the package of the article calls its target, and names are unique in a package graph.
        .executableTarget(
            name: "five-minute-greeter",
            dependencies: ["SPIFFE", "SPIFFETLS", "SPIFFEWorkloadAPI"],
            path: "Examples/FiveMinutes", swiftSettings: settings),
        .testTarget(
            name: "DocumentationTests",
            dependencies: ["SPIFFE", "SPIFFETLS", "SPIFFETesting", "SPIFFEWorkloadAPI"],
            swiftSettings: settings),

        // MARK: Examples
        .target(
            name: "SmartCityMessages",
            dependencies: [
                "SPIFFE", "SPIFFEWorkloadAPI", nioCore, nioTLS, nioSSL, nioConcurrency,
            ],
            path: "Examples/SmartCity/Messages", swiftSettings: settings),
        .executableTarget(
            name: "smartcity-sensor",
            dependencies: [
                "SmartCityMessages", "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFETLS", nioCore, nioPosix,
            ],
            path: "Examples/SmartCity/Sensor", swiftSettings: settings),
        .executableTarget(
            name: "smartcity-action",
            dependencies: [
                "SmartCityMessages", "SPIFFE", "SPIFFEWorkloadAPI", "SPIFFETLS", nioCore, nioPosix,
            ],
            path: "Examples/SmartCity/ActionAgent", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)

// The README beside a target's code is for people; SwiftPM would warn about a file it cannot build.
for target in package.targets where target.path == nil && target.type != .test {
    let readme = "\(Context.packageDirectory)/Sources/\(target.name)/README.md"
    if FileManager.default.fileExists(atPath: readme) { target.exclude.append("README.md") }
}
